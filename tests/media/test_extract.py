"""Segments: label steps with sound and a picture each."""

from __future__ import annotations

import csv
import subprocess

import numpy as np
import pytest

from media.cutter import Cutter
from media.errors import MediaError
from media.extract import PICTURES, extract
from media.limits import Limits
from media.part import Part
from media.pictures import MAX_LAG, Grid
from media.probe import probe
from media.process import binary
from media.waveform import load_waveform
from schemas.waveform import SAMPLE_RATE


def seconds(segment) -> float:
    return len(segment.pcm) / SAMPLE_RATE


def cause(path, **options) -> str:
    with pytest.raises(MediaError) as caught:
        list(extract(path, **options))
    return caught.value.cause


def test_clips_of_20_s_with_steps_of_5_s(make):
    first, second = extract(make("33s.mp4", seconds=33))
    assert (first.index, first.start_seconds) == (0, 0.0)
    assert (second.index, second.start_seconds) == (1, 20.0)
    assert first.frame_times == [2.5, 7.5, 12.5, 17.5]
    assert first.pcm.dtype == np.int16
    assert first.pcm.shape == (20 * SAMPLE_RATE,)
    assert {frame.shape for frame in first.frames} == {(256, 341, 3)}
    assert {frame.dtype for frame in first.frames} == {np.dtype(np.uint8)}
    # The last step has 3 of its 5 s: it counts, with the picture nearest to the middle of those.
    assert second.frame_times == [2.5, 7.5, 11.25]
    assert seconds(second) == pytest.approx(13, abs=0.06)


def test_the_sound_is_that_of_the_file(make):
    path = make("33s.mp4", seconds=33)
    sound = np.concatenate([segment.pcm for segment in extract(path)])
    np.testing.assert_array_equal(sound / np.float32(128), load_waveform(path)[: len(sound)])


@pytest.mark.parametrize(
    ("length", "times"),
    [
        (1.0, [0.0]),
        (2.0, [1.25]),
        (4.0, [2.5]),
        (7.0, [2.5]),  # 2 s are less than half a step
        (8.0, [2.5, 6.25]),
        (9.5, [2.5, 7.5]),
    ],
)
def test_a_step_that_is_not_all_there(make, length, times):
    (segment,) = extract(make(f"{length}s.mp4", seconds=length))
    assert segment.frame_times == times
    assert seconds(segment) == pytest.approx(min(length, len(times) * 5), abs=0.06)


def test_other_lengths_of_clip_and_step(make):
    segments = list(extract(make("9.2s.mp4", seconds=9.2), clip_seconds=4, step_seconds=2))
    assert [segment.start_seconds for segment in segments] == [0, 4, 8]
    assert [segment.frame_times for segment in segments] == [[1, 3], [1, 3], [0.5]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"clip_seconds": 12},
        {"step_seconds": 0},
        {"step_seconds": 40},
        {"start": -1},
        {"start": 5, "end": 5},
        {"end": float("nan")},
        {"channels": "both"},
        {"pictures": "all"},
    ],
)
def test_wrong_arguments_are_refused_at_once(wrong):
    with pytest.raises(ValueError, match="="):
        extract("any.mp4", **wrong)


def test_sound_that_ends_before_the_pictures(make):
    (segment,) = extract(make("sound8.mp4", seconds=16, sound_seconds=8))
    assert segment.frame_times == [2.5, 6.25]
    assert seconds(segment) == pytest.approx(8, abs=0.06)


def test_pictures_that_end_before_the_sound(make):
    (segment,) = extract(make("picture8.mp4", seconds=8, sound_seconds=16))
    assert segment.frame_times == [2.5, 6.25]
    assert seconds(segment) == 10


def test_sound_that_starts_late(ffmpeg, make, tmp_path):
    """Steps before it do not count; in the one where it starts, silence stands in front."""
    plain = make("20s.mp4", seconds=20)
    late = ("-i", plain, "-itsoffset", "6", "-i", plain, "-map", "0:v", "-map", "1:a", "-c", "copy")
    ffmpeg(*late, tmp_path / "late.mp4")
    (segment,) = extract(tmp_path / "late.mp4")
    assert segment.start_seconds == 5.0
    assert len(segment.frames) == 3
    assert not segment.pcm[: int(0.9 * SAMPLE_RATE)].any()
    assert segment.pcm[int(1.1 * SAMPLE_RATE) : int(1.2 * SAMPLE_RATE)].any()


def test_a_long_gap_in_the_sound_is_no_silent_clip(ffmpeg, make, tmp_path):
    """12 s without sound: the steps in which there is none do not count."""
    gap = ("-af", "aselect='not(between(t,7,19))'", "-c:v", "copy", "-c:a", "libopus")
    ffmpeg("-i", make("33s.mp4", seconds=33), *gap, tmp_path / "gap.mkv")
    before, after = extract(tmp_path / "gap.mkv")
    assert (before.start_seconds, len(before.frames)) == (0.0, 1)
    assert (after.index, after.start_seconds, len(after.frames)) == (1, 20.0, 3)


def test_a_part(make):
    first, second = extract(make("33s.mp4", seconds=33), start=3.0, end=29.0)
    assert (first.start_seconds, second.start_seconds) == (3.0, 23.0)
    assert second.frame_times == [2.5]  # 6 s: one step, and less than half of the next
    assert seconds(second) == 5


def test_a_part_beyond_the_end(make):
    assert cause(make("1.0s.mp4", seconds=1), start=100) in ("no_audio", "bad_audio")


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_pictures_stand_upright(ffmpeg, turn, tmp_path, degrees):
    """The picture is red above; the file says by how much it is to be turned."""
    upright = "color=blue:s=160x120:d=1,drawbox=c=red:t=fill:h=ih/2"
    laid = {90: "transpose=cclock", 270: "transpose=clock", 180: "hflip,vflip"}[degrees]
    picture = ("-f", "lavfi", "-i", f"{upright},{laid}")
    sound = ("-f", "lavfi", "-i", "sine=d=1")
    ffmpeg(*picture, *sound, "-c:v", "libx264", "-c:a", "aac", tmp_path / "laid.mp4")
    turn(tmp_path / "laid.mp4", tmp_path / "up.mp4", degrees)
    (segment,) = extract(tmp_path / "up.mp4")
    (frame,) = segment.frames
    assert frame.shape == (256, 341, 3)
    assert frame[40, 170].argmax() == 0
    assert frame[-40, 170].argmax() == 2


@pytest.mark.parametrize(
    ("size", "options", "shape"),
    [
        ("161x121", ("-vf", "scale=161:121,setsar=1,format=yuv444p"), (256, 341, 3)),
        ("90x161", ("-vf", "scale=90:161,setsar=1,format=yuv444p"), (458, 256, 3)),
        ("144x120", ("-vf", "setsar=16/9"), (256, 546, 3)),
        ("16x320", (), (1024, 256, 3)),
        ("640x16", (), (256, 1024, 3)),
        ("64x64", (), (256, 256, 3)),
    ],
)
def test_odd_sizes_and_shapes(make, size, options, shape):
    codecs = ("-c:v", "ffv1", "-c:a", "pcm_s16le")
    path = make(f"{size}.mkv", *options, seconds=1, size=size, codecs=codecs)
    (segment,) = extract(path)
    assert segment.frames[0].shape == shape


def test_a_stream_that_changes_its_form_midway(make, tmp_path):
    """Other size, rate and channels after 6 s: times go on, sizes stay, steps count as ever."""
    second = ("-output_ts_offset", "6", "-ac", "2", "-ar", "48000")
    parts = [
        make("small.ts", seconds=6),
        make("large.ts", *second, seconds=6, size="240x320"),
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    (segment,) = extract(path, step_seconds=1.0)
    assert segment.frame_times == pytest.approx([step + 0.5 for step in range(12)], abs=0.13)
    assert {frame.shape for frame in segment.frames} == {(256, 341, 3)}
    assert seconds(segment) == pytest.approx(12, abs=0.1)
    levels = np.abs(segment.pcm[: 245 * 1070].astype(int)).reshape(-1, 245).max(axis=1)
    assert (levels > 2000).mean() > 0.99  # the tone goes on


def test_the_first_of_several_streams(ffmpeg, tmp_path):
    inputs = [
        "color=red:s=64x64:d=2",
        "color=blue:s=640x640:d=2",
        "sine=f=300:d=2",
        "aevalsrc=0|0|0|0|0|0:d=2",
    ]
    sources = [word for source in inputs for word in ("-f", "lavfi", "-i", source)]
    maps = [word for number in range(4) for word in ("-map", str(number))]
    ffmpeg(*sources, *maps, "-c:v", "ffv1", "-c:a", "flac", tmp_path / "several.mkv")
    (segment,) = extract(tmp_path / "several.mkv")
    assert segment.frames[0][128, 128].argmax() == 0
    assert segment.pcm.any()


def test_channel_rules(ffmpeg, tmp_path):
    picture = ("-f", "lavfi", "-i", "color=red:s=64x64:d=1")
    sound = ("-f", "lavfi", "-i", "aevalsrc=0|0.5*sin(880*PI*t):d=1:s=44100")
    ffmpeg(*picture, *sound, "-c:v", "ffv1", "-c:a", "pcm_s16le", tmp_path / "right.mkv")
    peak = {
        rule: np.abs(next(extract(tmp_path / "right.mkv", channels=rule)).pcm[2000:-2000]).max()
        for rule in ("downmix", "first")
    }
    assert peak["first"] == 0
    assert peak["downmix"] == pytest.approx(0.25 * 32768, rel=0.02)


def test_without_sound_or_without_pictures(ffmpeg, make, tmp_path):
    assert cause(make("silent.mp4", "-an")) == "no_audio"
    assert cause(make("blind.mp4", "-vn")) == "no_video"
    sound = ("-f", "lavfi", "-i", "sine=d=3:r=44100")
    picture = ("-f", "lavfi", "-i", "color=red:s=64x64:d=1")
    cover = ("-map", "0", "-map", "1", "-frames:v", "1", "-disposition:v", "attached_pic")
    ffmpeg(*sound, *picture, *cover, "-c:v", "mjpeg", tmp_path / "cover.mp3")
    assert cause(tmp_path / "cover.mp3") == "no_video"


@pytest.mark.parametrize(
    ("known", "unknown", "expected"),
    [(b"A_AAC", b"A_QQC", "bad_audio"), (b"V_MPEG4/ISO/AVC", b"V_QQEG4/ISO/AVC", "bad_video")],
)
def test_a_codec_that_is_not_known(make, tmp_path, known, unknown, expected):
    content = make("codec.mkv").read_bytes()
    assert known in content
    (tmp_path / "unknown.mkv").write_bytes(content.replace(known, unknown))
    with pytest.raises(MediaError, match="ffmpeg: .*ecod") as caught:
        list(extract(tmp_path / "unknown.mkv"))
    assert caught.value.cause == expected


def test_sound_that_can_not_be_decoded_is_no_silence(ffmpeg, make, tmp_path):
    """Every byte of the sound is garbage; the pictures are well."""
    plain = make("codec.mkv")
    ffmpeg("-i", plain, "-c", "copy", "-bsf:a", "noise=amount=1", tmp_path / "noise.mkv")
    assert cause(tmp_path / "noise.mkv") == "bad_audio"


@pytest.mark.parametrize("mode", PICTURES)
@pytest.mark.parametrize("name", ["cut.mkv", "cut.ts", "cut.avi", "cut.mp4"])
def test_what_comes_before_the_cut_counts(make, tmp_path, name, mode):
    options = ("-movflags", "faststart") if name == "cut.mp4" else ()
    content = make(f"12s.{name[4:]}", *options, seconds=12).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * 0.75)])
    (segment,) = extract(tmp_path / name, pictures=mode)
    assert len(segment.frames) in (1, 2)
    assert 4.9 < seconds(segment) <= 10
    # Nothing but the tone: no silence where the file ends.
    assert (np.abs(segment.pcm[:-2205].astype(int)).reshape(-1)[-2205:] > 1000).any()


def test_an_mp4_that_lost_its_index_is_unreadable(make, tmp_path):
    content = make("12s.mp4", seconds=12).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 3])
    if b"moov" not in content[: len(content) // 3]:
        assert cause(tmp_path / "cut.mp4") == "unreadable"


def test_segments_come_while_the_file_is_read(make):
    """The first is there long before the last can be."""
    segments = extract(make("long.mp4", seconds=120), clip_seconds=5)
    assert next(segments).index == 0
    segments.close()


def a_cutter() -> Cutter:
    return Cutter(Grid(5.0), Part("a.mp4", 0.0, None, 4, 5.0, "downmix", Limits()))


def cutter_of_clips() -> Cutter:
    return Cutter(Grid(5.0), Part("any.mp4", 0.0, None, 4, 5.0, "downmix", Limits()))


def see(cutter: Cutter, numbers) -> None:
    """Let pictures come, one for each number of the grid."""
    cutter.feed("times", b"frame:0    pts:0       pts_time:0\nfirst=1\n")
    for number in numbers:
        cutter.feed("times", b"frame:%-4d pts:%-7d pts_time:0\npicture=1\n" % (number, number))
        cutter.feed("pictures", b"P6\n1 1\n255\n\1\2\3")


def test_pictures_whose_sound_never_comes_are_let_go():
    """Sound that ended early is known to have ended only with the file: memory stays bounded."""
    cutter, runs = cutter_of_clips(), []
    cutter.sound.add(0, np.ones(6 * SAMPLE_RATE, np.int16))
    for number in range(4000):  # 5000 s
        see(cutter, [number])
        runs += cutter.runs(ended=False)
        assert len(cutter.pictures._pictures) <= (MAX_LAG + 20) / 1.25
    assert [len(run.steps) for run in runs] == [1]
    cutter.sound.add(4990 * SAMPLE_RATE, np.ones(10 * SAMPLE_RATE, np.int16))
    runs += cutter.runs(ended=True)
    assert [5 * run.steps[0].number for run in runs] == [0, 4990]


@pytest.mark.parametrize("late", ["sound", "pictures"])
def test_what_lies_too_far_behind_in_the_file_is_refused_not_lost(late):
    cutter = cutter_of_clips()

    def hear(seconds):
        cutter.sound.add(0, np.ones(seconds * SAMPLE_RATE, np.int16))

    feeds = [lambda: see(cutter, range(4 * 100)), lambda: hear(400)]  # 500 s, 400 s
    first, second = feeds if late == "sound" else reversed(feeds)

    def cut(feed):
        feed()
        return list(cutter.runs(ended=False))

    cut(first)
    with pytest.raises(MediaError, match=f"the {late} come more than 300 s behind") as caught:
        cut(second)
    assert caught.value.cause == "too_large"


@pytest.mark.parametrize("name", ["578bb1a5a6ab.mov", "79d49f42a5a4.mp4", "e18faf4b9a9d.mov"])
def test_frames_are_those_that_ffmpeg_shows_then(data_dir, name):
    """An independent way: decode all up to a time, scale, and take the last."""
    path = data_dir / "videos" / name
    checked = 0
    for segment in extract(path):
        for frame, time in zip(segment.frames, segment.frame_times, strict=True):
            height, width, _ = frame.shape
            filters = f"select='lte(t,{segment.start_seconds + time})',scale={width}:{height}"
            flags = "flags=bicubic+accurate_rnd+full_chroma_int"
            command = [binary(), "-i", path, "-map", "0:v:0", "-vf", f"{filters}:{flags}"]
            command += ["-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
            raw = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL).stdout
            last = np.frombuffer(raw[-frame.size :], np.uint8).reshape(frame.shape)
            np.testing.assert_array_equal(frame, last)
            checked += 1
    assert checked


# file: (label steps, seconds of sound, upright). All but the last few decode with any ffmpeg that
# has its usual decoders; those may lack one, and then say so.
EDGE = {
    "25cf125bb905.webm": (1, 1.01, False),
    "2c962c0b7463.mov": (1, 1.25, False),
    "2fc97942f59c.ts": (1, 5.0, False),
    "35cdb13c149e.mkv": (2, 10.0, False),
    "4d53e032f7b2.mp4": (1, 1.09, False),
    "74c291668355.ts": (1, 4.99, True),
    "76e3861d00df.ts": (1, 0.1, False),
    "7bef580bf3b6.webm": (1, 4.99, False),
    "92bc01bc4088.avi": (1, 4.08, False),
    "94554f1f8edc.mp4": (1, 4.97, True),
    "9c6d908ee0f6.ogv": (13, 64.51, False),
    "9c7f43427aa9.3gp": (1, 4.92, False),
    "a9d0fe8c3d5c.mp4": (1, 4.18, True),
    "aa4512c246e8.ts": (1, 0.1, False),
    "d2c0f328a036.mkv": (1, 1.07, False),
    "dd679aeaa5c9.webm": (1, 5.0, False),
    "df86714fd86b.mkv": (1, 1.07, False),
    "e0de10b4b735.3gp": (1, 5.0, False),
    "e1192f5209aa.ts": (1, 0.1, False),
    "faacfce5070d.avi": (1, 2.44, False),
}


@pytest.mark.parametrize("name", EDGE)
def test_real_files_of_many_kinds(data_dir, name):
    steps, length, upright = EDGE[name]
    segments = list(extract(data_dir / "videos" / "edge" / name))
    frames = [frame for segment in segments for frame in segment.frames]
    assert len(frames) == steps
    assert sum(map(seconds, segments)) == pytest.approx(length, abs=0.1)
    for frame in frames:
        height, width, _ = frame.shape
        assert min(height, width) == 256
        assert (height > width) == upright
        assert frame.std() > 5  # a picture, not a blank


def test_every_edge_file_is_expected(data_dir):
    assert {path.name for path in (data_dir / "videos" / "edge").iterdir()} == set(EDGE)


@pytest.mark.slow
def test_all_real_videos(data_dir):
    with open(data_dir / "videos" / "manifest.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["file"].startswith("edge/")]
    assert len(rows) == 153
    steps = 0
    for row in rows:
        segments = list(extract(data_dir / "videos" / row["file"]))
        steps += sum(len(segment.frames) for segment in segments)
        for segment in segments:
            assert seconds(segment) <= 5 * len(segment.frames)
            assert seconds(segment) > 5 * len(segment.frames) - 2.6 or segment.index == 0
        # The list's own lengths are for some files those of the longer originals.
        length = probe(data_dir / "videos" / row["file"]).duration_seconds
        assert sum(map(seconds, segments)) == pytest.approx(length, abs=2.6)
    assert steps == 396
