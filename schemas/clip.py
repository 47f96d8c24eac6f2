"""The clip record: at most 20 s of one video, as a `tf.train.Example`.

| feature | type | meaning |
|---|---|---|
| schema_version | int64 | `SCHEMA_VERSION` |
| clip_id, video_id, url | bytes | names; a clip is `<video_id>/<number>` |
| start_seconds | float | where the clip starts in the video |
| sample_rate, num_samples | int64 | 22050; samples of the waveform |
| audio, audio_codec | bytes | mono sound, see `schemas.audio` |
| frame_times | float list | seconds within the clip, one per label step |
| teacher/<name>/probs | bytes | float16, little-endian, label steps x classes |
| teacher/<name>/embedding | bytes | the same of a teacher of embeddings: label steps x values |
| frames | bytes list | optional: the label steps' pictures as JPEG |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.message import DecodeError

from schemas import SCHEMA_VERSION, SchemaError, audio, check_version
from schemas.example import Example
from schemas.waveform import SAMPLE_RATE

if TYPE_CHECKING:
    from schemas.dataset_info import DatasetInfo


_ENDS = {"distribution": "probs", "embedding": "embedding"}


def teacher_feature(name: str, target: str = "distribution") -> str:
    """Name of the feature that holds what the teacher `name` says; `target` as in `TeacherInfo`."""
    return f"teacher/{name}/{_ENDS[target]}"


@dataclass
class ClipRecord:
    """One clip, as written and read outside of tf.data.

    Attributes:
        pcm: int16 (samples,), mono, 22,050 Hz.
        frame_times: seconds within the clip, one per label step.
        probs: per teacher of distributions, float16 (label steps, classes).
        embeddings: per teacher of embeddings, float16 (label steps, values).
        frames: JPEG pictures, one per label step, or none at all.
    """

    video_id: str
    number: int
    url: str
    start_seconds: float
    pcm: np.ndarray
    audio_codec: str
    frame_times: list[float]
    probs: dict[str, np.ndarray]
    frames: list[bytes] = field(default_factory=list)
    embeddings: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def clip_id(self) -> str:
        return f"{self.video_id}/{self.number}"

    def to_bytes(self) -> bytes:
        """The serialised record; equal records give equal bytes.

        Raises:
            SchemaError: labels and label steps don't match, or there is no sound or no step.
        """
        steps = len(self.frame_times)
        if not len(self.pcm) or not steps:
            raise SchemaError(f"clip {self.clip_id} has {len(self.pcm)} samples and {steps} steps")
        for name, probs in (*self.probs.items(), *self.embeddings.items()):
            if probs.ndim != 2 or len(probs) != steps or not np.isfinite(probs).all():
                raise SchemaError(
                    f"teacher {name} gave {probs.shape} for {steps} label steps of {self.clip_id}"
                )
        if self.frames and len(self.frames) != steps:
            raise SchemaError(f"{len(self.frames)} pictures for {steps} steps of {self.clip_id}")
        example = Example()
        feature = example.features.feature

        def ints(name: str, *values: int) -> None:
            feature[name].int64_list.value.extend(values)

        def floats(name: str, *values: float) -> None:
            feature[name].float_list.value.extend(values)

        def strings(name: str, *values: bytes) -> None:
            feature[name].bytes_list.value.extend(values)

        ints("schema_version", SCHEMA_VERSION)
        strings("clip_id", self.clip_id.encode())
        strings("video_id", self.video_id.encode())
        strings("url", self.url.encode())
        floats("start_seconds", self.start_seconds)
        ints("sample_rate", SAMPLE_RATE)
        ints("num_samples", len(self.pcm))
        strings("audio", audio.encode(self.pcm, self.audio_codec))
        strings("audio_codec", self.audio_codec.encode())
        floats("frame_times", *self.frame_times)
        for name, probs in self.probs.items():
            strings(teacher_feature(name), probs.astype("<f2").tobytes())
        for name, values in self.embeddings.items():
            strings(teacher_feature(name, "embedding"), values.astype("<f2").tobytes())
        if self.frames:
            strings("frames", *self.frames)
        return example.SerializeToString(deterministic=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> ClipRecord:
        """Read a serialised record.

        Raises:
            SchemaError: not a clip record, of another version, or damaged.
        """
        try:
            example = Example.FromString(data)
        except DecodeError as error:
            raise SchemaError(f"not a tf.train.Example: {error}") from error
        features = example.features.feature

        def get(name: str, kind: str) -> list:
            values = getattr(features[name], kind).value if name in features else []
            if not values:
                raise SchemaError(f"a clip record has a feature {name!r}; this has none")
            return list(values)

        check_version(get("schema_version", "int64_list")[0], "the clip record")
        codec = get("audio_codec", "bytes_list")[0].decode()
        pcm = audio.decode(get("audio", "bytes_list")[0], codec)
        clip_id = get("clip_id", "bytes_list")[0].decode()
        frame_times = get("frame_times", "float_list")
        declared = get("num_samples", "int64_list")[0]
        if codec != "mp3" and len(pcm) != declared:
            raise SchemaError(f"{clip_id} has {len(pcm)} samples and says it has {declared}")
        said: dict[str, dict[str, np.ndarray]] = {end: {} for end in _ENDS.values()}
        for name in sorted(features):
            room, _, rest = name.partition("/")
            teacher, _, end = rest.partition("/")
            if room == "teacher" and end in said:
                values = np.frombuffer(get(name, "bytes_list")[0], "<f2")
                if len(values) % len(frame_times):
                    raise SchemaError(f"{clip_id}: {name} doesn't divide into its label steps")
                said[end][teacher] = values.reshape(len(frame_times), -1)
        return cls(
            video_id=get("video_id", "bytes_list")[0].decode(),
            number=int(clip_id.rsplit("/", 1)[1]),
            url=get("url", "bytes_list")[0].decode(),
            start_seconds=get("start_seconds", "float_list")[0],
            # An MP3 ends on a whole frame; what is past the clip's end is padding.
            pcm=pcm[:declared],
            audio_codec=codec,
            frame_times=frame_times,
            probs=said["probs"],
            embeddings=said["embedding"],
            frames=list(features["frames"].bytes_list.value) if "frames" in features else [],
        )


def parse_in_graph(serialized, info: DatasetInfo) -> dict:
    """Parse one record inside tf.data.

    Args:
        serialized: scalar string tensor.
        info: the data set's description; it names the teachers and the codec.

    Returns:
        `clip_id` scalar string; `waveform` float32 (samples,), -256..256; `frame_times` float32
        (label steps,); `probs`: per teacher float32 (label steps, classes), or, of a teacher of
        embeddings, (label steps, values).
    """
    import tensorflow as tf

    spec = {
        "clip_id": tf.io.FixedLenFeature([], tf.string),
        "audio": tf.io.FixedLenFeature([], tf.string),
        "num_samples": tf.io.FixedLenFeature([], tf.int64),
        "frame_times": tf.io.FixedLenSequenceFeature([], tf.float32, allow_missing=True),
    }
    for teacher in info.teachers:
        spec[teacher_feature(teacher.name, teacher.target)] = tf.io.FixedLenFeature([], tf.string)
    features = tf.io.parse_single_example(serialized, spec)
    steps = tf.shape(features["frame_times"])[0]
    probs = {}
    for teacher in info.teachers:
        feature = teacher_feature(teacher.name, teacher.target)
        values = tf.io.decode_raw(features[feature], tf.float16)
        shape = tf.stack([steps, len(teacher.classes)])
        probs[teacher.name] = tf.cast(tf.reshape(values, shape), tf.float32)
    waveform = audio.decode_in_graph(features["audio"], info.audio_codec)
    found, declared = tf.shape(waveform, tf.int64)[0], features["num_samples"]
    message = [features["clip_id"], "has", found, "samples and says it has", declared]
    with tf.control_dependencies([tf.debugging.Assert(found >= declared, message)]):
        waveform = tf.identity(waveform)
    return {
        "clip_id": features["clip_id"],
        "waveform": waveform[: features["num_samples"]],
        "frame_times": features["frame_times"],
        "probs": probs,
    }
