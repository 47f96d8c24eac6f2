"""Sound and pictures lie where the container's clock says: flashes and clicks at known times."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest

from media.extract import extract
from media.waveform import load_waveform
from schemas.waveform import SAMPLE_RATE

CLICK = "aevalsrc='if(lt(mod(t,1),0.02),0.8*sin(2*PI*1500*t),0)':s={rate}:d=4"
FLASH = (
    "color=black:s=160x120:r=25:d=4,"
    "drawbox=c=white:t=fill:enable='lt(mod(t+0.001,1),0.1)'"  # for 0.1 s at each whole second
)
# Frames at no fixed rate, those at the flashes among them.
VARIABLE = FLASH + ",select='lt(mod(n\\,25)\\,4)+gt(random(1)\\,0.6)'"
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "2")
TOLERANCE = 0.020
STEP = 0.01


@pytest.fixture(autouse=True)
def small_frames(monkeypatch):
    """Hundreds of frames a second are wanted here, but only their brightness."""
    monkeypatch.setattr(importlib.import_module("media.pictures"), "SHORT_SIDE", 16)


@pytest.fixture
def flashes_and_clicks(ffmpeg, tmp_path):
    def make(
        name: str,
        *codecs: str,
        picture: str = FLASH,
        rate: int = 44100,
        late_sound: float = 0,
        late_picture: float = 0,
    ) -> Path:
        path = tmp_path / name
        picture = ("-itsoffset", str(late_picture), "-f", "lavfi", "-i", picture)
        click = CLICK.format(rate=rate)
        sound = ("-itsoffset", str(late_sound), "-f", "lavfi", "-i", click)
        ffmpeg(*picture, *sound, "-map", "0:v", "-map", "1:a", *codecs, path)
        return path

    return make


def onsets(path: Path, **part) -> tuple[list[float], list[float]]:
    """When the flashes and the clicks start, in the video's own time."""
    segments = list(extract(path, clip_seconds=1.0, step_seconds=STEP, **part))
    flashes, bright = [], False
    for segment in segments:
        for frame, time in zip(segment.frames, segment.frame_times, strict=True):
            if (frame.mean() > 128) and not bright:
                flashes.append(segment.start_seconds + time - STEP / 2)
            bright = frame.mean() > 128
    loud = [
        segment.start_seconds + np.flatnonzero(np.abs(segment.pcm.astype(int)) > 8000) / SAMPLE_RATE
        for segment in segments
    ]
    clicks, last = [], -1.0
    for time in np.concatenate(loud):
        if time - last > 0.5:
            clicks.append(time)
        last = time
    return flashes, clicks


def whole_seconds(times: list[float], offset: float = 0.0) -> list[float]:
    """The times of at least the last three events, which a cut start can't have moved."""
    assert len(times) >= 3
    return [time - offset for time in times[-3:]]


FILES = {
    "aac.mp4": (*H264, "-c:a", "aac"),
    "fragments.mp4": (*H264, "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov+delay_moov"),
    "mp3.mp4": (*H264, "-c:a", "libmp3lame"),
    "mp3.mkv": (*H264, "-c:a", "libmp3lame"),
    "mp3.avi": ("-c:v", "mpeg4", "-c:a", "libmp3lame"),
    "aac.mkv": (*H264, "-c:a", "aac"),
    "aac.flv": (*H264, "-c:a", "aac"),
    "opus.webm": ("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"),
    "pcm.mov": ("-c:v", "mjpeg", "-c:a", "pcm_s16le"),
    "aac.ts": (*H264, "-c:a", "aac"),  # its clock starts at 1.4 s
    "mp2.ts": ("-c:v", "mpeg2video", "-c:a", "mp2", "-output_ts_offset", "3600"),
}


@pytest.mark.parametrize("name", FILES)
def test_sound_and_pictures_are_together(flashes_and_clicks, name):
    flashes, clicks = onsets(flashes_and_clicks(name, *FILES[name]))
    for flash, click in zip(whole_seconds(flashes), whole_seconds(clicks), strict=True):
        assert abs(flash - click) <= TOLERANCE


@pytest.mark.parametrize("name", ["aac.mp4", "mp3.mp4", "opus.webm", "pcm.mov"])
def test_times_are_those_of_the_file(flashes_and_clicks, name):
    """Containers that say what their encoder put in front: 1 s in the file is 1 s in the clip."""
    for times in onsets(flashes_and_clicks(name, *FILES[name])):
        assert whole_seconds(times) == pytest.approx([1, 2, 3], abs=TOLERANCE)


@pytest.mark.parametrize("name", ["aac.mp4", "aac.ts", "mp3.mkv"])
def test_sound_that_starts_late(flashes_and_clicks, name):
    flashes, clicks = onsets(flashes_and_clicks(name, *FILES[name], late_sound=0.7))
    assert whole_seconds(flashes) == pytest.approx([1, 2, 3], abs=TOLERANCE)
    assert whole_seconds(clicks) == pytest.approx([1.7, 2.7, 3.7], abs=TOLERANCE)


@pytest.mark.parametrize("name", ["aac.mp4", "aac.ts", "mp3.mkv"])
def test_pictures_that_start_late(flashes_and_clicks, name):
    flashes, clicks = onsets(flashes_and_clicks(name, *FILES[name], late_picture=0.6))
    apart = np.subtract(whole_seconds(flashes), whole_seconds(clicks))
    assert apart == pytest.approx([0.6] * 3, abs=TOLERANCE)


@pytest.mark.parametrize("name", ["aac.mp4", "aac.mkv"])
def test_variable_frame_rate(flashes_and_clicks, name):
    path = flashes_and_clicks(name, *FILES[name], "-fps_mode", "vfr", picture=VARIABLE)
    flashes, clicks = onsets(path)
    for flash, click in zip(whole_seconds(flashes), whole_seconds(clicks), strict=True):
        assert abs(flash - click) <= TOLERANCE


@pytest.mark.parametrize("rate", [8000, 48000])
def test_resampling_does_not_shift(flashes_and_clicks, rate):
    codecs = ("-c:v", "mjpeg", "-c:a", "pcm_s16le")
    _, clicks = onsets(flashes_and_clicks("pcm.mov", *codecs, rate=rate))
    assert whole_seconds(clicks) == pytest.approx([1, 2, 3], abs=0.002)


def test_the_waveform_lies_on_the_same_clock(flashes_and_clicks):
    """load_waveform: silence in front of sound that starts late."""
    path = flashes_and_clicks("late.mp4", *FILES["aac.mp4"], late_sound=0.7)
    waveform = load_waveform(path)
    assert np.flatnonzero(np.abs(waveform) > 62)[0] / SAMPLE_RATE == pytest.approx(0.7, abs=0.02)
    assert not waveform[: int(0.6 * SAMPLE_RATE)].any()


@pytest.mark.parametrize("container", ["mp4", "ts", "avi"])
def test_a_part_is_what_the_whole_has_there(ffmpeg, data_dir, tmp_path, container):
    """Seeking finds the same sound and the same pictures as reading from the start."""
    codecs = ("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac")
    if container == "avi":
        codecs = ("-c:v", "mpeg4", "-c:a", "libmp3lame")
    path = tmp_path / f"trailer.{container}"
    trailer = data_dir / "videos" / "edge" / "9c6d908ee0f6.ogv"
    ffmpeg("-i", trailer, "-t", "40", "-s", "160x96", *codecs, path)

    whole = list(extract(path, clip_seconds=5.0))
    sound = np.concatenate([segment.pcm for segment in whole]).astype(float)
    part = list(extract(path, start=20.0, end=32.0, clip_seconds=5.0))
    assert [segment.start_seconds for segment in part] == [20.0, 25.0]
    for segment, same in zip(part, whole[4:], strict=False):
        assert segment.frame_times == [2.5]
        np.testing.assert_array_equal(segment.frames[0], same.frames[0])
        begin = round(segment.start_seconds * SAMPLE_RATE)
        assert abs(lag(segment.pcm, sound[begin : begin + len(segment.pcm)])) <= TOLERANCE


def lag(a: np.ndarray, b: np.ndarray) -> float:
    """Seconds by which a lies behind b, where they match best."""
    length = 2 * len(a)
    match = np.fft.irfft(np.fft.rfft(a, length) * np.conj(np.fft.rfft(b, length)))
    best = int(match.argmax())
    return (best - length if best > len(a) else best) / SAMPLE_RATE


def test_a_part_that_starts_between_pictures_shows_the_one_before(ffmpeg, tmp_path):
    """One picture every 4 s: the one that is on the screen at the start came before it."""
    path = tmp_path / "slides.mp4"
    levels = "geq=lum='40+N*40':cb=128:cr=128"
    slides = ("-f", "lavfi", "-i", f"color=black:s=64x64:r=0.25:d=24,{levels}")
    sound = ("-f", "lavfi", "-i", "sine=d=24:r=44100")
    ffmpeg(*slides, *sound, "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", path)

    def shown(**part) -> list[int]:
        segments = extract(path, clip_seconds=1.0, step_seconds=1.0, **part)
        pictures = itertools.chain.from_iterable(segment.frames for segment in segments)
        return [round(float(picture.mean())) for picture in pictures]

    whole = shown()
    assert len(whole) == 24
    assert [len(list(group)) for _, group in itertools.groupby(whole)] == [4] * 6
    assert shown(start=10.0, end=15.0) == whole[10:15]
