"""Key frames in place of every picture: the same steps and sound, and pictures that are right."""

from __future__ import annotations

import itertools
import subprocess
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from media import keyframes, process
from media.errors import MediaError
from media.extract import PICTURES, Segment, extract
from media.limits import Limits
from schemas.waveform import SAMPLE_RATE

AAC = ("-c:a", "aac")


def h264(group: int, *options: str) -> tuple[str, ...]:
    """H.264 of 25 pictures a second with a key frame every `group` pictures, and no other."""
    every = ("-g", str(group), "-keyint_min", str(group), "-sc_threshold", "0")
    return ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", *every, *options, *AAC)


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """The label steps for which every picture was decoded."""
    steps, original = [], keyframes.Rest.picture

    def recorded(self, step):
        steps.append(step.number)
        return original(self, step)

    monkeypatch.setattr(keyframes.Rest, "picture", recorded)
    return steps


def decode(path: Path, filters: str, *output: str) -> bytes:
    """Every picture of a video, on the clock of its sound and pictures."""
    command = [process.binary(), "-nostdin", "-v", "error", "-i", path, "-map", "0:V:0"]
    command += ["-vf", f"settb=AVTB,{filters}", "-fps_mode", "passthrough", *output, "-"]
    command += ["-map", "0:a:0", "-c", "copy", "-f", "null", "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def shown_at(path: Path, times: list[float], shape: tuple[int, ...]) -> np.ndarray:
    """What is on the screen at those times, by an independent way: the last picture until then."""
    ticks = ("-enc_time_base", "1/1000000")
    lines = decode(path, "scale=2:2", *ticks, "-f", "framecrc").decode().splitlines()
    stamps = [int(line.split(",")[2]) / 1e6 for line in lines if not line.startswith("#")]
    numbers = np.searchsorted(stamps, np.array(times) + 2e-5, side="right") - 1
    different, places = np.unique(numbers, return_inverse=True)
    chosen = "+".join(f"eq(n,{number})" for number in different)
    height, width, _ = shape
    size = f"scale={width}:{height}:flags=bicubic+accurate_rnd+full_chroma_int"
    raw = decode(path, f"select='{chosen}',{size}", "-pix_fmt", "rgb24", "-f", "rawvideo")
    return np.frombuffer(raw, np.uint8).reshape(-1, *shape)[places]


def both(path: Path, **part) -> tuple[list[Segment], list[Segment]]:
    """What the exact pictures and what the key frames give: the same sound and the same steps."""
    exact, fast = (list(extract(path, pictures=mode, **part)) for mode in ("exact", "keyframes"))
    assert [one.start_seconds for one in fast] == [one.start_seconds for one in exact]
    for one, other in zip(fast, exact, strict=True):
        np.testing.assert_array_equal(one.pcm, other.pcm)
        assert len(one.frames) == len(one.frame_times) == len(other.frames)
        step = part.get("step_seconds", 5.0)
        for number, time in enumerate(one.frame_times):
            assert number * step - keyframes.BEFORE <= time < (number + 1) * step
    return exact, fast


def check(path: Path, **part) -> list[Segment]:
    """Compare all that is promised; gives what the key frames give."""
    _, fast = both(path, **part)
    frames = [frame for one in fast for frame in one.frames]
    times = [one.start_seconds + time for one in fast for time in one.frame_times]
    expected = shown_at(path, times, frames[0].shape)
    for frame, same in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame, same)
    return fast


def times_of(segments: list[Segment]) -> list[float]:
    return [round(one.start_seconds + time, 2) for one in segments for time in one.frame_times]


@pytest.mark.parametrize(
    ("group", "times", "rest"),
    [
        (25, [2, 7, 12, 17, 22, 27], []),  # of two as near to the middle the first
        (75, [3, 6, 12, 18, 21, 27], []),
        # A step without one gets the last before it.
        (250, [0, 0, 10, 10, 20, 20], []),
        # Where that is more than 10 s back, every picture is decoded, as with "exact".
        (400, [0, 0, 0, 16, 16, 16], []),
        (10_000, [0, 0, 0, 17.5, 22.5, 27.5], [3, 4, 5]),
    ],
)
def test_a_key_frame_where_there_is_one(make, decoded, group, times, rest):
    path = make(f"group{group}.mp4", seconds=30, codecs=h264(group))
    assert times_of(check(path)) == times
    assert decoded == rest


def test_a_segment_may_begin_with_the_picture_before_it(make):
    path = make("group400.mp4", seconds=30, codecs=h264(400))
    _, second = extract(path, pictures="keyframes")
    assert second.start_seconds == 20
    assert second.frame_times == [-4, -4]


def test_that_pictures_change_is_seen_where_asked(make, decoded):
    """Where one key frame would stand for all of a segment, and there alone."""
    path = make("group250.mp4", seconds=30, codecs=h264(250))
    assert times_of(extract(path, pictures="keyframes", clip_seconds=10)) == [0, 0, 10, 10, 20, 20]
    moving = extract(path, pictures="keyframes", clip_seconds=10, motion=True)
    assert times_of(moving) == [0, 7.5, 10, 17.5, 20, 27.5]
    assert decoded == [1, 3, 5]
    assert times_of(extract(path, pictures="keyframes", motion=True)) == [0, 0, 10, 10, 20, 27.5]


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.flv", "a.ts", "fragments.mp4"])
@pytest.mark.parametrize("part", [{}, {"start": 3.3}, {"start": 12.0, "end": 23.0}])
def test_containers_and_parts(make, decoded, name, part):
    """Of 6 s from key frame to key frame, with others stored out of order."""
    fragments = ("-movflags", "frag_keyframe+empty_moov+delay_moov")
    options = fragments if name == "fragments.mp4" else ()
    check(make(f"six-{name}", *options, seconds=25, codecs=h264(150)), **part)
    assert not decoded


CODECS = {
    "mpeg4.avi": ("-c:v", "mpeg4", "-g", "100", "-bf", "0", "-c:a", "libmp3lame"),
    # An AVI does not say when its pictures are shown; where some are stored out of order, the times
    # that ffmpeg makes up for key frames alone are wrong.
    "reordered.avi": ("-c:v", "mpeg4", "-g", "100", "-bf", "2", "-c:a", "libmp3lame"),
    "mpeg2.ts": ("-c:v", "mpeg2video", "-g", "100", "-bf", "2", "-c:a", "mp2"),
    "mpeg2.mpg": ("-c:v", "mpeg2video", "-g", "100", "-bf", "2", "-c:a", "mp2"),
    "hevc.mp4": (
        *("-c:v", "libx265", "-preset", "ultrafast"),
        *("-x265-params", "keyint=150:log-level=none", *AAC),
    ),
    "vp8.webm": (
        *("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-g", "150"),
        *("-c:a", "libopus"),
    ),
    "theora.ogv": ("-c:v", "libtheora", "-g", "150", "-c:a", "libvorbis"),
    "wmv2.asf": ("-c:v", "wmv2", "-g", "150", "-c:a", "wmav2"),
    # Nothing but key frames.
    "mjpeg.mov": ("-c:v", "mjpeg", "-c:a", "pcm_s16le"),
    "ffv1.mkv": ("-c:v", "ffv1", "-g", "1", "-c:a", "flac"),
    "qtrle.mov": ("-c:v", "qtrle", "-c:a", "pcm_s16le"),
    "open.ts": h264(150, "-x264-params", "open-gop=1"),
    # A picture is made new from left to right, and no picture is whole by itself.
    "refresh.mp4": h264(50, "-x264-params", "intra-refresh=1"),
    "refresh.ts": h264(50, "-x264-params", "intra-refresh=1"),
}


@pytest.mark.parametrize("name", CODECS)
def test_codecs(make, name):
    check(make(f"codec-{name}", seconds=12, codecs=CODECS[name]))


def test_only_key_frames_are_decoded_where_there_are_enough(make, started):
    """One ffmpeg, told to skip all others."""
    path = make("group75.mp4", seconds=30, codecs=h264(75))
    started.clear()
    list(extract(path, pictures="keyframes"))
    (one,) = started
    assert one.args[one.args.index("-skip_frame:v") + 1] == "nokey"


def test_of_a_video_of_key_frames_few_are_scaled(make, monkeypatch):
    """Four a label step at most."""
    path = make("codec-mjpeg.mov", seconds=12, codecs=CODECS["mjpeg.mov"])
    came, original = [], keyframes.KeyFrames.feed

    def recorded(self, pipe, data):
        came.append(data.count(b"picture=1") if pipe == "times" else 0)
        return original(self, pipe, data)

    monkeypatch.setattr(keyframes.KeyFrames, "feed", recorded)
    assert times_of(extract(path, pictures="keyframes")) == [2.52, 7.52]
    assert sum(came) == 10


def test_variable_frame_rate(ffmpeg, tmp_path):
    picture = "testsrc2=s=160x120:r=25:d=30,select='lt(mod(n\\,60)\\,4)+gt(random(1)\\,0.8)'"
    sources = ("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=d=30:r=44100")
    for name in ("vfr.mp4", "vfr.mkv"):
        ffmpeg(*sources, "-fps_mode", "vfr", *h264(80), tmp_path / name)
        check(tmp_path / name)


def test_slides(ffmpeg, tmp_path):
    """One picture every 4 s: in a step, or the one that is shown when it begins."""
    picture = ("-f", "lavfi", "-i", "testsrc2=s=64x64:r=0.25:d=40")
    ffmpeg(*picture, "-f", "lavfi", "-i", "sine=d=40", *h264(100), tmp_path / "slides.mp4")
    check(tmp_path / "slides.mp4")
    check(tmp_path / "slides.mp4", step_seconds=1.0, clip_seconds=4.0)


@pytest.mark.parametrize("marked", ["all", "none"])
def test_key_frames_that_are_marked_wrongly(make, tmp_path, marked):
    """The list of key frames of an MP4 says that all pictures are some, or that there is none."""
    content = bytearray(make("group150.mp4", seconds=30, codecs=h264(150)).read_bytes())
    at = content.index(b"stss")
    if marked == "all":
        content[at : at + 4] = b"free"
    else:
        content[at + 8 : at + 12] = bytes(4)
    (tmp_path / "wrong.mp4").write_bytes(content)
    check(tmp_path / "wrong.mp4")


def test_a_stream_that_starts_between_key_frames(make, tmp_path):
    """As one that was recorded from the air."""
    content = make("six-a.ts", seconds=25, codecs=h264(150)).read_bytes()
    (tmp_path / "later.ts").write_bytes(content[188 * (len(content) // 1880) :])
    check(tmp_path / "later.ts")


def test_a_clock_that_jumps(make, tmp_path):
    """Two recordings in one file: read from the start the second follows the first, but seeking
    goes by what each says. Then what comes is not what should, and all is decoded."""
    parts = [
        make("first.ts", seconds=12, codecs=h264(1000)),
        make("second.ts", "-output_ts_offset", "40", seconds=12, codecs=h264(1000)),
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    check(path)


def test_a_stream_that_changes_its_form_midway(make, tmp_path):
    """Times go on, sizes stay."""
    second = ("-output_ts_offset", "12")
    parts = [
        make("small12.ts", seconds=12, codecs=h264(300)),
        make("large12.ts", *second, seconds=12, size="240x320", codecs=h264(300)),
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    _, fast = both(path)
    assert {frame.shape for one in fast for frame in one.frames} == {(256, 341, 3)}


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_pictures_stand_upright(make, turn, tmp_path, degrees):
    turn(make("group150.mp4", seconds=30, codecs=h264(150)), tmp_path / "turned.mp4", degrees)
    check(tmp_path / "turned.mp4")


def test_a_file_of_which_the_end_is_damaged(make, tmp_path):
    """What can't be decoded is as if it were not there."""
    content = bytearray(make("group250.mkv", seconds=25, codecs=h264(250)).read_bytes())
    content[len(content) * 3 // 4 :] = b"\xff" * (len(content) - len(content) * 3 // 4)
    (tmp_path / "damaged.mkv").write_bytes(content)
    both(tmp_path / "damaged.mkv")


def test_the_errors_are_the_same(ffmpeg, make, tmp_path):
    plain = make("codec.mkv")
    unknown = plain.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_QQEG4/ISO/AVC")
    (tmp_path / "unknown.mkv").write_bytes(unknown)
    ffmpeg("-i", plain, "-c", "copy", "-bsf:v", "noise=amount=1", tmp_path / "noise.mkv")
    for path in (
        make("silent.mp4", "-an"),
        make("blind.mp4", "-vn"),
        tmp_path / "unknown.mkv",
        tmp_path / "noise.mkv",
        tmp_path / "missing.mp4",
    ):
        errors = []
        for mode in PICTURES:
            with pytest.raises(MediaError) as caught:
                list(extract(path, pictures=mode))
            errors.append(str(caught.value))
        assert errors[0] == errors[1]


def test_a_video_whose_only_key_frame_is_damaged(make, tmp_path):
    content = bytearray(make("group10000.mp4", seconds=30, codecs=h264(10_000)).read_bytes())
    at = content.index(b"mdat")
    content[at + 4 : at + 4000] = b"\xff" * 3996
    (tmp_path / "headless.mp4").write_bytes(content)
    results = []
    for mode in PICTURES:
        try:
            segments = list(extract(tmp_path / "headless.mp4", pictures=mode))
            results.append([len(one.frames) for one in segments])
        except MediaError as error:
            results.append(error.cause)
    assert results[0] == results[1]


def test_processes_end_with_the_generator(make, started):
    """Also the one that decodes what lacks, which is not at its end."""
    path = make("group10000.mp4", seconds=30, codecs=h264(10_000))
    started.clear()
    segments = extract(path, pictures="keyframes", clip_seconds=5)
    assert [one.frame_times for one in itertools.islice(segments, 3)] == [[0], [-5], [-10]]
    assert len(started) == 1
    assert next(segments).frame_times == [2.5]
    assert len(started) == 2
    assert started[-1].poll() is None
    segments.close()
    assert all(one.returncode is not None and one.stderr.closed for one in started)


def test_the_time_of_all_processes_counts(make, monkeypatch):
    """Limits.timeout_seconds is for the file, not for each of the processes that read it."""
    path = make("group10000.mp4", seconds=30, codecs=h264(10_000))
    waited, original = [], process.run

    def recorded(*arguments, **options):
        waited.append(options["waited"])
        return original(*arguments, **options)

    monkeypatch.setattr(process, "run", recorded)
    list(extract(path, pictures="keyframes"))
    assert len(waited) == 2
    assert len({id(one) for one in waited}) == 1


def same(one: list[Segment], other: list[Segment]) -> bool:
    return len(one) == len(other) and all(
        a.frame_times == b.frame_times
        and np.array_equal(a.pcm, b.pcm)
        and all(map(np.array_equal, a.frames, b.frames))
        for a, b in zip(one, other, strict=True)
    )


def test_threads_do_not_disturb_each_other(data_dir):
    """What several give at once is what one gives after the other."""
    files = sorted((data_dir / "videos").glob("*.m*"), key=lambda path: path.stat().st_size)[:12]
    jobs = list(itertools.product(files, PICTURES))

    def run(job: tuple[Path, str]) -> list[Segment]:
        return list(extract(job[0], pictures=job[1]))

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(run, jobs))
    assert all(map(same, map(run, jobs), together))


def test_no_other_process_holds_a_pipe(make):
    """Programs that another thread starts meanwhile live on; reading ends all the same."""
    path = make("group250.mp4", seconds=30, codecs=h264(250))
    others, done, limits = [], threading.Event(), Limits(idle_seconds=20)

    def start() -> None:
        while not done.is_set() and len(others) < 200:
            others.append(subprocess.Popen(["sleep", "60"]))

    thread = threading.Thread(target=start)
    thread.start()
    try:
        for _ in range(3):
            assert len(list(extract(path, pictures="keyframes", limits=limits))) == 2
        assert any(other.poll() is None for other in others)
    finally:
        done.set()
        thread.join()
        for other in others:
            other.kill()
            other.wait()


@pytest.mark.parametrize("name", ["0500d23ded62.mp4", "5dfabbe6ebb9.mp4", "9d7c21d24e87.mp4"])
def test_real_videos(data_dir, name):
    check(data_dir / "videos" / name)


@pytest.mark.slow
def test_real_files_of_many_kinds(data_dir, decoded):
    for path in sorted((data_dir / "videos" / "edge").iterdir()):
        check(path)
    assert not decoded


@pytest.mark.slow
def test_all_real_videos(data_dir, decoded):
    files = sorted((data_dir / "videos").glob("*.m*"))
    assert len(files) >= 152
    for path in files:
        check(path)
    assert not decoded


@pytest.mark.slow
@pytest.mark.parametrize("group", [30, 250, 100_000])
def test_an_hour_in_flat_memory(ffmpeg, tmp_path, group):
    """With one key frame at its start, too, whose picture comes only with the end."""
    picture = ("-f", "lavfi", "-i", "testsrc2=s=64x64:r=10:d=3600")
    ffmpeg(*picture, "-f", "lavfi", "-i", "sine=d=3600", *h264(group), tmp_path / "long.mp4")
    tracemalloc.start()
    steps = 0
    for segment in extract(tmp_path / "long.mp4", pictures="keyframes"):
        steps += len(segment.frames)
        assert len(segment.pcm) == 20 * SAMPLE_RATE
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert steps == 720
    assert peak < 64e6
