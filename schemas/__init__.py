"""What travels between the rooms: one definition of every record, for writer and reader alike.

`waveform`      the waveform contract: rate, scale
`audio`         sound inside a record: FLAC, MP3 or 16-bit PCM
`clip`          the clip record (`tf.train.Example`)
`example`       `tf.train.Example` without TensorFlow
`tfrecord`      how a shard holds records
`dataset_info`  `dataset_info.json`, beside the shards
`ledger`        what became of every video
`video_list`    the list of videos to work on
`classes`       the class names of the teachers
"""

SCHEMA_VERSION = 1
"""Version of the records, `dataset_info.json` and ledger written by this code."""


class SchemaError(ValueError):
    """What was read doesn't fit the schema; the message says what is wrong and what to do."""


def check_version(found: object, where: str) -> None:
    """Raise `SchemaError` unless `found` is the version that this code reads."""
    if found != SCHEMA_VERSION:
        raise SchemaError(
            f"{where} has schema version {found!r}; this code reads version {SCHEMA_VERSION}. "
            "Make the data set again with `python -m pipeline`, or use the release that wrote it."
        )
