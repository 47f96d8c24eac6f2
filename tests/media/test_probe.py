"""What a file holds, as ffmpeg says it."""

from __future__ import annotations

import csv

import pytest

from media.errors import MediaError
from media.probe import probe, read_report
from media.process import Report


def test_a_plain_video(make):
    found = probe(make("plain.mp4"))
    assert found.format == "mov,mp4,m4a,3gp,3g2,mj2"
    assert found.duration_seconds == pytest.approx(3, abs=0.1)
    video, audio = found.streams
    assert (video.kind, video.codec, video.width, video.height) == ("video", "h264", 160, 120)
    assert (video.frame_rate, video.rotation, video.attached_picture) == (25, 0, False)
    assert (audio.kind, audio.codec, audio.sample_rate, audio.channels) == (
        "audio",
        "aac",
        44100,
        1,
    )
    assert found.first("audio") is audio
    assert found.first("subtitle") is None


@pytest.mark.parametrize(("degrees", "rotation"), [(90, -90), (180, 180), (270, 90)])
def test_rotation(make, turn, tmp_path, degrees, rotation):
    turn(make("plain.mp4"), tmp_path / "turned.mp4", degrees)
    found = probe(tmp_path / "turned.mp4").first("video").rotation
    assert found % 360 == rotation % 360


@pytest.mark.parametrize(
    ("layout", "channels"),
    [("stereo", 2), ("2.1", 3), ("quad", 4), ("5.1", 6), ("7.1", 8)],
)
def test_channels(ffmpeg, tmp_path, layout, channels):
    source = f"anullsrc=cl={layout}:r=48000"
    ffmpeg("-f", "lavfi", "-i", source, "-t", "0.1", tmp_path / "a.wav")
    (stream,) = probe(tmp_path / "a.wav").streams
    assert (stream.channels, stream.sample_rate) == (channels, 48000)


def test_a_cover_is_no_video(ffmpeg, tmp_path):
    cover(ffmpeg, tmp_path / "song.mp3")
    found = probe(tmp_path / "song.mp3")
    assert [stream.kind for stream in found.streams] == ["audio", "video"]
    assert found.streams[1].attached_picture
    assert found.first("video") is None


def cover(ffmpeg, path):
    sound = ("-f", "lavfi", "-i", "sine=d=3:r=44100")
    picture = ("-f", "lavfi", "-i", "color=red:s=64x64:d=1")
    maps = ("-map", "0", "-map", "1", "-frames:v", "1", "-disposition:v", "attached_pic")
    ffmpeg(*sound, *picture, *maps, "-c:v", "mjpeg", path)


def test_real_files_are_what_their_list_says(data_dir):
    folder = data_dir / "videos"
    with open(folder / "manifest.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["file"].startswith("edge/")]
    assert len(rows) == 20
    for row in rows:
        found = probe(folder / row["file"])
        video, audio = found.first("video"), found.first("audio")
        assert (str(video.width), str(video.height)) == (row["width"], row["height"])
        assert (video.codec, audio.codec) == (row["vcodec"], row["acodec"])
        assert found.duration_seconds == pytest.approx(float(row["duration_s"]), abs=0.1)


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("empty.mp4", b"", "unreadable"),
        ("text.mp4", b"not a video\n" * 100, "unreadable"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nplain.mp4\n", "unreadable"),
    ],
)
def test_what_is_no_media(tmp_path, name, content, cause):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError) as caught:
        probe(tmp_path / name)
    assert caught.value.cause == cause


def test_a_title_can_not_pose_as_a_stream(ffmpeg, make, tmp_path):
    title = "x\n  Stream #0:7: Video: h264, yuv420p, 9999x9999, 25 fps"
    named = tmp_path / "named.mp4"
    ffmpeg("-i", make("plain.mp4"), "-c", "copy", "-metadata", f"title={title}", named)
    assert len(probe(named).streams) == 2


def test_a_key_that_poses_as_a_stream_is_no_crash(ffmpeg, make, tmp_path):
    """A muxer cleans its keys, and a hostile one doesn't: numbers in it may be none."""
    lines = [
        "  Stream #0:9: Video: h264, 5x5, 1.2.3 fps",
        "  Stream #0:9: Audio: aac, 1.2 Hz, 1.2.3",
        f"  Duration: {'9' * 5000}:00:00",
        f"  Stream #0:{'9' * 5000}: Video: h264, {'9' * 5000}x5",
    ]
    for line in lines:
        key = "K" * (len(line) + 2)
        ffmpeg("-i", make("plain.mp4"), "-c", "copy", "-metadata", f"{key}=x", tmp_path / "a.mkv")
        content = (tmp_path / "a.mkv").read_bytes()
        assert key.encode() in content
        (tmp_path / "b.mkv").write_bytes(content.replace(key.encode(), f"A\n{line}".encode()))
        assert probe(tmp_path / "b.mkv").first("video").kind == "video"


def test_a_length_that_is_not_known():
    report = Report()
    report.feed(b"[info] Input #0, h264, from 'file:x':\n[info]   Duration: N/A, bitrate: N/A\n")
    found = read_report(report)
    assert (found.format, found.duration_seconds, found.streams) == ("h264", None, ())
