"""Sound as records carry it: mono 16-bit samples as FLAC (lossless), MP3 or little-endian PCM.

Written with libsndfile; read by miniaudio's decoders (dr_flac, dr_mp3), inside tf.data as well:
they let go of Python's lock, so several clips are decoded at once.
"""

from __future__ import annotations

import io

import numpy as np

from schemas import SchemaError
from schemas.waveform import PCM_TO_WAVEFORM, SAMPLE_RATE

CODECS = ("flac", "mp3", "pcm")
"""Names of the codecs of `audio_codec`; FLAC is the default of the pipeline."""

MP3_BITRATE = 0.5
"""libsndfile's compression level for MP3, 0 (best) to 1 (smallest)."""


def check_codec(codec: str) -> str:
    """Return `codec`; raise `SchemaError` unless it is one of `CODECS`."""
    if codec not in CODECS:
        raise SchemaError(f"unknown audio codec {codec!r}; choose one of {', '.join(CODECS)}")
    return codec


def encode(pcm: np.ndarray, codec: str) -> bytes:
    """Encode 16-bit samples (samples,) at 22,050 Hz; the same samples give the same bytes."""
    check_codec(codec)
    if pcm.dtype != np.int16 or pcm.ndim != 1:
        raise TypeError(f"mono 16-bit samples are wanted, not {pcm.dtype} of shape {pcm.shape}")
    if codec == "pcm":
        return pcm.astype("<i2").tobytes()
    import soundfile

    out = io.BytesIO()
    if codec == "flac":
        soundfile.write(out, pcm, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    else:
        soundfile.write(
            out,
            pcm,
            SAMPLE_RATE,
            format="MP3",
            subtype="MPEG_LAYER_III",
            compression_level=MP3_BITRATE,
        )
    return out.getvalue()


def decode(data: bytes, codec: str) -> np.ndarray:
    """The 16-bit samples (samples,) of an encoded clip.

    Raises:
        SchemaError: the bytes aren't mono sound at 22,050 Hz of that codec.
    """
    check_codec(codec)
    if codec == "pcm":
        if len(data) % 2:
            raise SchemaError(f"{len(data)} bytes of 16-bit samples: half a sample is missing")
        return np.frombuffer(data, "<i2").astype(np.int16)
    import miniaudio

    read = miniaudio.flac_read_s16 if codec == "flac" else miniaudio.mp3_read_s16
    try:
        sound = read(data)
    except miniaudio.DecodeError as error:
        raise SchemaError(f"the {codec} of a record can't be read: {error}") from error
    if (sound.sample_rate, sound.nchannels) != (SAMPLE_RATE, 1):
        raise SchemaError(
            f"mono sound at {SAMPLE_RATE} Hz is wanted, not {sound.nchannels} channels at "
            f"{sound.sample_rate} Hz"
        )
    return np.frombuffer(sound.samples, np.int16)


def decode_in_graph(data, codec: str):
    """A waveform tensor (samples,), float32, -256..256, of one encoded clip; runs inside tf.data.

    Args:
        data: scalar string tensor, the record's `audio`.
        codec: the data set's `audio_codec`.

    Raises:
        SchemaError: no such codec; sound that can't be read is an `InvalidArgumentError` when it
            runs.
    """
    import tensorflow as tf

    check_codec(codec)
    if codec == "pcm":
        pcm = tf.io.decode_raw(data, tf.int16)
    else:
        pcm = tf.numpy_function(
            # Called outside of a graph it gets an array of no dimensions.
            lambda encoded: decode(np.asarray(encoded, object).item(), codec),
            [data],
            tf.int16,
        )
        pcm.set_shape([None])
    return tf.cast(pcm, tf.float32) * PCM_TO_WAVEFORM
