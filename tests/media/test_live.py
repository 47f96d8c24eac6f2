"""Sound that still comes is the sound of the whole."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from media import MediaError, Raw, load_waveform, stream_live


def piped(data: bytes):
    """The reading end of a pipe that brings the data, a little at a time."""
    read, write = os.pipe()

    def bring():
        with os.fdopen(write, "wb", buffering=0) as pipe:
            for at in range(0, len(data), 5000):
                pipe.write(data[at : at + 5000])

    threading.Thread(target=bring, daemon=True).start()
    return os.fdopen(read, "rb", buffering=0)


def test_a_container_by_a_pipe(data_dir):
    path = data_dir / "esc10" / "audio" / "1-100032-A-0.ogg"
    blocks = list(stream_live(piped(path.read_bytes())))
    assert len(blocks) > 10
    np.testing.assert_array_equal(np.concatenate(blocks), load_waveform(path))


@pytest.mark.parametrize(("rate", "channels"), [(22050, 1), (44100, 2)])
def test_bare_samples_by_a_pipe(rate, channels):
    samples = np.random.default_rng(0).integers(-9999, 9999, (3 * rate, channels)).astype("<i2")
    heard = stream_live(piped(samples.tobytes()), Raw(rate, channels))
    expected = load_waveform(samples if channels > 1 else samples[:, 0], rate)
    np.testing.assert_array_equal(np.concatenate(list(heard)), expected)


def test_a_pipe_that_brings_no_sound():
    with pytest.raises(MediaError, match="unreadable: the pipe can't be opened"):
        list(stream_live(piped(b"nothing to hear" * 1000)))


def test_a_playlist_by_a_pipe_reaches_nothing(data_dir):
    """What comes by a pipe can't name files to read."""
    secret = data_dir / "esc10" / "audio" / "1-100032-A-0.ogg"
    for text in (f"ffconcat version 1.0\nfile 'file:{secret}'\n", f"#EXTM3U\nfile:{secret}\n"):
        with pytest.raises(MediaError, match="unreadable"):
            list(stream_live(piped(text.encode())))


def test_a_file_that_is_none():
    with pytest.raises(MediaError, match="not_found"):
        list(stream_live("none.ogg"))
