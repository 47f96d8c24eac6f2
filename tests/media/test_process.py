"""The ffmpeg process: hostile names and files, limits, and its end."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys

import pytest
from PIL import Image, PngImagePlugin

from media import process
from media.errors import CAUSES, MediaError
from media.extract import PICTURES, extract
from media.limits import Limits
from media.probe import probe
from media.waveform import load_waveform


def cause(path, **options) -> str:
    with pytest.raises(MediaError) as caught:
        list(extract(path, **options))
    return caught.value.cause


NAMES = [
    "with space.mp4",
    'it\'s "quoted".mp4',
    "-loglevel.mp4",
    "http:__a.mp4",
    "concat:a|b.mp4",
    "%03d.mp4",
    "new\nline.mp4",
    "back\\slash;$(touch x)`touch y`.mp4",
    "naïve 音.mp4",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_only_a_name(make, tmp_path, monkeypatch, name):
    shutil.copy(make("plain.mp4"), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (name, tmp_path / name):
        assert len(list(extract(path))) == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{path}\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{path}\n#EXT-X-ENDLIST\n"),
        ("list.txt", "ffconcat version 1.0\nfile {path}\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile 'file:{path}'\n"),
        (
            "list.mpd",
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">{path}</MPD>',
        ),
        ("session.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"),
    ],
)
def test_a_file_that_names_other_files_is_refused(make, tmp_path, name, text):
    (tmp_path / name).write_text(text.format(path=make("plain.mp4")))
    for read in (lambda path: list(extract(path)), load_waveform, probe):
        with pytest.raises(MediaError) as caught:
            read(tmp_path / name)
        assert caught.value.cause == "unreadable"


def test_the_same_list_is_read_by_an_ffmpeg_that_is_not_told_so(make, tmp_path):
    """The test before this one is about what would work."""
    script = tmp_path / "list.ffconcat"
    script.write_text(f"ffconcat version 1.0\nfile '{make('plain.mp4')}'\n")
    command = [process.binary(), "-safe", "0", "-i", script, "-f", "null", "-"]
    assert subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


def alias(path: str) -> bytes:
    """A QuickTime alias record: the media of a track lie in another file, at this path."""
    record = bytes(10 + 28 + 12 + 64 + 16 + 4 + 16)
    record += struct.pack(">HH", 2, len(path)) + path.encode() + b"\0" * (len(path) % 2)
    return box(b"alis", bytes(4) + record + b"\xff\xff\0\0")


def point_elsewhere(content: bytes, path: str) -> bytes:
    """The boxes of a MOV with empty media and the alias in place of "in this file"."""
    result, at = b"", 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        name, inner = content[at + 4 : at + 8], content[at + 8 : at + size]
        if name in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
            inner = point_elsewhere(inner, path)
        elif name == b"dref":
            inner = inner[:8] + alias(path)
        elif name == b"mdat":
            inner = bytes(len(inner))
        result += box(name, inner)
        at += size
    return result


def test_a_movie_whose_media_lie_in_another_file_does_not_get_them(make, tmp_path):
    path = make("plain.mov")
    (tmp_path / "points.mov").write_bytes(point_elsewhere(path.read_bytes(), str(path)))
    assert cause(tmp_path / "points.mov") in ("bad_audio", "bad_video")
    # What would work, if it were asked for:
    command = [process.binary(), "-enable_drefs", "1", "-use_absolute_path", "1", "-v", "error"]
    command += ["-i", tmp_path / "points.mov", "-f", "null", "-"]
    told = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    assert (told.returncode, told.stderr) == (0, b"")


def test_a_picture_that_poses_as_the_filters_words_is_only_a_picture(ffmpeg, make, tmp_path):
    """PNG pictures carry any key with any text; the times of the pictures come as such, too."""
    text = PngImagePlugin.PngInfo()
    text.add_text("first", "x\nframe:0    pts:30000000 pts_time:0\npicture=1")
    text.add_text("picture", "x")
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png", pnginfo=text)
    inputs = ("-loop", "1", "-t", "3", "-i", tmp_path / "a.png", "-f", "lavfi", "-i", "sine=d=3")
    ffmpeg(*inputs, "-c:v", "copy", "-c:a", "pcm_s16le", tmp_path / "a.mkv")
    (segment,) = extract(tmp_path / "a.mkv")
    assert segment.frame_times == [1.25]


def test_a_picture_is_no_video(ffmpeg, tmp_path):
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x64", "-frames:v", "1", tmp_path / "a.png")
    assert cause(tmp_path / "a.png") == "unreadable"


def test_what_is_not_there_or_no_file(make, tmp_path):
    assert cause(tmp_path / "missing.mp4") == "not_found"
    assert cause(make("plain.mp4") / "below.mp4") == "not_found"
    assert cause(tmp_path) == "unreadable"
    assert cause("/dev/zero") == "unreadable"
    assert cause("nul\0.mp4") == "unreadable"


def test_the_error_has_ffmpegs_own_words(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(1000))
    with pytest.raises(MediaError, match="moov atom not found") as caught:
        probe(tmp_path / "a.mp4")
    assert "ffmpeg version" not in caught.value.message
    assert " @ 0x" not in caught.value.message


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(max_bytes=1000), "too_large"),
        (Limits(max_pixels=160 * 120 - 1), "too_large"),
        (Limits(max_seconds=2.5), "too_long"),
        (Limits(timeout_seconds=0.001), "timeout"),
        (Limits(idle_seconds=0.001), "timeout"),
    ],
)
@pytest.mark.parametrize("mode", PICTURES)
def test_limits(make, limits, expected, mode):
    path = make("plain.mp4")
    assert cause(path, limits=limits, pictures=mode) == expected
    limits = Limits(max_pixels=3 * 160 * 120, max_seconds=3.5)
    assert len(list(extract(path, limits=limits, pictures=mode))) == 1


@pytest.mark.parametrize("mode", PICTURES)
def test_pictures_that_grow_beyond_the_limit_are_not_cut_in_silence(make, tmp_path, mode):
    small = make("small.ts", seconds=6)
    large = make("huge.ts", "-output_ts_offset", "6", seconds=6, size="640x480")
    (tmp_path / "grows.ts").write_bytes(small.read_bytes() + large.read_bytes())
    limits = Limits(max_pixels=100_000)
    segments = extract(tmp_path / "grows.ts", limits=limits, clip_seconds=5, pictures=mode)
    assert len(next(segments).frames) == 1
    with pytest.raises(MediaError, match=r"Limits\.max_pixels") as caught:
        list(segments)
    assert caught.value.cause == "too_large"


def test_a_lower_bound_on_memory_that_holds_already_is_no_crash(make):
    """As under `ulimit -d`: the bound of Limits can't be set above it, and need not."""
    program = (
        "import resource, sys; from media import extract;"
        "resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30));"
        "print(len(list(extract(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", program, make("plain.mp4")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"


@pytest.mark.parametrize("mode", PICTURES)
def test_memory_is_bounded(make, mode):
    limits = Limits(max_memory_bytes=5 * 2**20)
    with pytest.raises(MediaError):
        list(extract(make("plain.mp4"), limits=limits, pictures=mode))


def test_the_length_of_the_part_counts_not_of_the_file(make):
    path = make("plain.mp4")
    limits = Limits(max_seconds=2)
    assert len(list(extract(path, start=1, end=2.5, limits=limits))) == 1
    assert cause(path, start=0.5, end=2.9, limits=limits) == "too_long"


def test_one_process_a_video(make, started):
    path = make("plain.mp4")
    started.clear()
    list(extract(path))
    (one,) = started
    assert isinstance(one.args, list)
    assert one.returncode == 0


@pytest.mark.parametrize("how", ["closed", "forgotten", "failed"])
def test_the_process_ends_with_the_generator(make, started, how):
    segments = extract(make("long.mp4", seconds=120), clip_seconds=1, step_seconds=1)
    next(segments)
    assert started[-1].poll() is None
    if how == "closed":
        segments.close()
    elif how == "forgotten":
        del segments
    else:
        with pytest.raises(RuntimeError, match="mine"):
            segments.throw(RuntimeError("mine"))
    assert started[-1].returncode is not None
    assert started[-1].stderr.closed


@pytest.fixture
def heard_hang_up():
    """Programs started now don't ignore SIGHUP, as they would where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("heard_hang_up")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_ffmpeg_that_is_stopped_is_no_end_of_the_file(make, started, how):
    """By Ctrl-C, or by a system that has no memory left."""
    segments = extract(make("200s.mp4", seconds=200), clip_seconds=5)
    next(segments)
    started[-1].send_signal(how)
    with pytest.raises(MediaError) as caught:
        list(segments)
    assert caught.value.cause == "killed"


def test_ctrl_c_does_not_reach_ffmpeg(make, started):
    segments = extract(make("33s.mp4", seconds=33), clip_seconds=5)
    next(segments)
    assert os.getpgid(started[-1].pid) != os.getpgid(0)
    segments.close()


def test_no_descriptor_is_left_open(make, tmp_path):
    from pathlib import Path

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    path = make("plain.mp4")
    before = descriptors()
    for mode in PICTURES:
        list(extract(path, pictures=mode))
        with pytest.raises(MediaError):
            list(extract(path, limits=Limits(max_pixels=1), pictures=mode))
        next(extract(path, pictures=mode))
    probe(path), load_waveform(path)
    assert descriptors() == before


def test_time_spent_elsewhere_does_not_count(make):
    """A slow consumer (a teacher at work) is no reason to give up on a video."""
    import time

    limits = Limits(timeout_seconds=30, idle_seconds=10)
    segments = extract(make("long.mp4", seconds=120), clip_seconds=1, step_seconds=1, limits=limits)
    next(segments)
    # Pretend that the consumer took an hour: nothing but the clock moves.
    clock = time.monotonic
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process.time, "monotonic", lambda: clock() + 3600)
        assert next(segments).index == 1
    segments.close()


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(MediaError("bad_audio", "why")))  # noqa: S301
    assert (error.cause, error.message, str(error)) == ("bad_audio", "why", "bad_audio: why")
    with pytest.raises(ValueError, match="unknown cause"):
        MediaError("bad_luck", "why")
    assert set(CAUSES) >= {"not_found", "unreadable", "no_audio", "bad_audio", "timeout"}


def test_an_ffmpeg_on_the_path_comes_first(monkeypatch, tmp_path):
    (tmp_path / "ffmpeg").symlink_to(process.binary())
    monkeypatch.setenv("PATH", str(tmp_path))
    process.binary.cache_clear()
    try:
        assert process.binary() == str(tmp_path / "ffmpeg")
        monkeypatch.setenv("PATH", str(tmp_path / "none"))
        process.binary.cache_clear()
        assert "imageio_ffmpeg" in process.binary()
        monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
        process.binary.cache_clear()
        with pytest.raises(RuntimeError, match=r"PATH .* imageio-ffmpeg"):
            process.binary()
    finally:
        process.binary.cache_clear()


def test_a_name_that_is_not_utf_8_is_refused_by_name(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav")
    with open(path, "wb") as file:
        file.write(b"RIFF")
    with pytest.raises(MediaError) as raised:
        process.open_file(path, Limits())
    assert raised.value.cause == "unreadable"
    assert "\\udcff.wav" in raised.value.message
