"""Sound as records carry it: mono 16-bit samples as FLAC (lossless), MP3 or little-endian PCM.

Written with libsndfile. Read inside tf.data by tensorflow-io (`decode_in_graph`, the only place
that knows tensorflow-io) and outside of it by libsndfile (`decode`). PCM needs neither.
"""

from __future__ import annotations

import functools
import io

import numpy as np

from schemas import SchemaError
from schemas.waveform import PCM_TO_WAVEFORM, SAMPLE_RATE, WAVEFORM_PEAK

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
    import soundfile

    try:
        pcm, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    except soundfile.LibsndfileError as error:
        raise SchemaError(f"the {codec} of a record can't be read: {error}") from error
    if rate != SAMPLE_RATE or pcm.ndim != 1:
        raise SchemaError(f"mono sound at {SAMPLE_RATE} Hz is wanted, not {rate} Hz, {pcm.shape}")
    return pcm


@functools.cache
def tensorflow_io_problem() -> str | None:
    """Why tensorflow-io's native operations can't be used here; None when they can.

    `import tensorflow_io` succeeds on TensorFlow versions that can't load its operations, so one is
    called.
    """
    try:
        import tensorflow as tf
        import tensorflow_io as tfio

        with tf.init_scope():  # really run it, even while a graph is being traced
            tfio.audio.resample(tf.zeros([8, 1]), 2, 1)
    except (ImportError, NotImplementedError) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def decode_in_graph(data, codec: str):
    """A waveform tensor (samples,), float32, -256..256, of one encoded clip; runs inside tf.data.

    Args:
        data: scalar string tensor, the record's `audio`.
        codec: the data set's `audio_codec`.

    Raises:
        SchemaError: FLAC or MP3 where tensorflow-io doesn't work; the message says what to do.
    """
    import tensorflow as tf

    check_codec(codec)
    if codec == "pcm":
        return tf.cast(tf.io.decode_raw(data, tf.int16), tf.float32) * PCM_TO_WAVEFORM
    problem = tensorflow_io_problem()
    if problem:
        raise SchemaError(
            f"records with {codec} sound need tensorflow-io, which doesn't work here ({problem}). "
            "Install tensorflow 2.17 with tensorflow-io 0.37.1 (`pip install soundnet[train]`), or "
            "make the data set with --audio-codec pcm."
        )
    import tensorflow_io as tfio

    if codec == "flac":
        pcm = tfio.audio.decode_flac(data, dtype=tf.int16)
        return tf.cast(pcm[:, 0], tf.float32) * PCM_TO_WAVEFORM
    # tensorflow-io gives MP3 as float32 in -1..1.
    return tfio.audio.decode_mp3(data)[:, 0] * WAVEFORM_PEAK
