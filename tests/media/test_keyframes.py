"""Key frames in place of every picture: the same sound and steps, and pictures that are true."""

from __future__ import annotations

import concurrent.futures
import itertools
import subprocess

import numpy as np
import pytest

from media.errors import MediaError
from media.extract import extract
from media.probe import probe
from media.process import binary

GOPS = {
    "a second": ("g1.mp4", ("-g", "25")),
    "three seconds": ("g3.mp4", ("-g", "75")),
    "eight seconds": ("g8.mkv", ("-g", "200")),
    "one key frame": ("g1000.mp4", ("-g", "1000", "-sc_threshold", "0")),
    "nothing but key frames": ("all.avi", ("-c:v", "mjpeg", "-bf", "0", "-c:a", "pcm_s16le")),
    "open groups": ("open.mkv", ("-g", "60", "-x264-params", "open-gop=1", "-bf", "3")),
    "other codecs": ("vp9.webm", ("-c:v", "libvpx", "-g", "90", "-c:a", "libopus")),
}


def both(path, **part):
    return list(extract(path, **part)), list(extract(path, pictures="keyframes", **part))


def shown_at(path, time: float, shape: tuple[int, ...]) -> np.ndarray:
    """The picture shown at a time, decoded from the start on."""
    command = [binary(), "-v", "error", "-i", str(path), "-map", "0:V:0", "-vf"]
    command += [
        f"select='lte(t,{time + 0.001})',scale={shape[1]}:{shape[0]}:"
        "flags=bicubic+accurate_rnd+full_chroma_int,format=rgb24"
    ]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    size = shape[0] * shape[1] * 3
    return np.frombuffer(data[-size:], np.uint8).reshape(shape)


def check(exact, keys, step_seconds: float = 5.0) -> None:
    """The same segments but for the pictures, whose times lie within their steps."""
    assert [(s.index, s.start_seconds) for s in keys] == [(s.index, s.start_seconds) for s in exact]
    for one, other in zip(exact, keys, strict=True):
        np.testing.assert_array_equal(one.pcm, other.pcm)
        assert len(one.frames) == len(other.frames)
        assert [frame.shape for frame in other.frames] == [frame.shape for frame in one.frames]
        for step, time in enumerate(other.frame_times):
            assert step * step_seconds - 1e-3 <= time < (step + 1) * step_seconds


@pytest.mark.parametrize("name", GOPS)
def test_the_sound_and_the_steps_are_those_of_exact_pictures(make, name):
    file, options = GOPS[name]
    path = make(file, *options, seconds=33)
    exact, keys = both(path)
    check(exact, keys)
    for segment in keys:
        for frame, time in zip(segment.frames, segment.frame_times, strict=True):
            truth = shown_at(path, segment.start_seconds + time, frame.shape)
            assert np.abs(frame.astype(int) - truth).mean() < 1.5, (name, time)


@pytest.mark.parametrize(("start", "end"), [(7.0, None), (3.0, 19.5), (24.0, 31.0)])
@pytest.mark.parametrize("name", ["a second", "eight seconds", "one key frame"])
def test_a_part(make, name, start, end):
    file, options = GOPS[name]
    check(*both(make(file, *options, seconds=33), start=start, end=end))


def test_only_key_frames_are_decoded_where_there_are_enough(make, monkeypatch):
    """One ffmpeg, told to skip all others."""
    path = make(GOPS["three seconds"][0], *GOPS["three seconds"][1], seconds=33)
    commands = []

    class Recorded(subprocess.Popen):
        def __init__(self, command, *arguments, **options):
            commands.append(command)
            super().__init__(command, *arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    (first, _) = extract(path, pictures="keyframes")
    (command,) = commands
    assert "nokey" in command
    assert all(time % 3 == pytest.approx(0, abs=0.05) for time in first.frame_times)


def test_what_can_not_be_decoded_has_the_same_cause(ffmpeg, make, tmp_path):
    path = make("plain.mp4")
    ffmpeg("-i", path, "-an", "-c", "copy", tmp_path / "mute.mp4")
    ffmpeg("-i", path, "-vn", "-c", "copy", tmp_path / "blind.mp4")
    (tmp_path / "words.mp4").write_text("no video")
    causes = []
    for name in ("mute", "blind", "words", "none"):
        with pytest.raises(MediaError) as caught:
            list(extract(tmp_path / f"{name}.mp4", pictures="keyframes"))
        causes.append(caught.value.cause)
    assert causes == ["no_audio", "no_video", "unreadable", "not_found"]
    with pytest.raises(ValueError, match="keyframes"):
        extract(path, pictures="some")


def test_real_videos_give_the_same_sound_and_steps(data_dir):
    """And several threads at once give what one after the other does."""
    files = sorted((data_dir / "videos").glob("*.m*"), key=lambda path: path.stat().st_size)[:24]
    alone = [list(extract(path, pictures="keyframes")) for path in files]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda path: list(extract(path, pictures="keyframes")), files))
    for path, keys, again in zip(files, alone, together, strict=True):
        check(list(extract(path)), keys)
        for one, other in zip(keys, again, strict=True):
            np.testing.assert_array_equal(one.pcm, other.pcm)
            assert one.frame_times == other.frame_times
            assert all(map(np.array_equal, one.frames, other.frames))


@pytest.mark.slow
def test_all_real_videos_give_the_same_sound_and_steps(data_dir):
    folder = data_dir / "videos"
    checked = 0
    for path in itertools.chain(sorted(folder.glob("*.*")), sorted((folder / "edge").iterdir())):
        if path.suffix in (".csv", ".md"):
            continue
        assert probe(path).first("audio")
        check(*both(path))
        checked += 1
    assert checked >= 173
