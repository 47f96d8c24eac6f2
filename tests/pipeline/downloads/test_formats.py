"""Which format is taken, by yt-dlp's own way of processing what a site offers."""

import pytest
import yt_dlp

from pipeline.downloads.formats import smallest


def both(name: str, height: int | None = None, **more) -> dict:
    width = more.pop("width", height and height * 16 // 9)
    return {
        "format_id": name,
        "url": f"http://x/{name}.mp4",
        "height": height,
        "width": width,
        **more,
    }


def mute(name: str, height: int | None, **more) -> dict:
    return both(name, height, acodec="none", vcodec="avc1", **more)


def sound(name: str, **more) -> dict:
    return {
        "format_id": name,
        "url": f"http://x/{name}.m4a",
        "vcodec": "none",
        "acodec": "mp4a",
        **more,
    }


@pytest.mark.parametrize(
    ("formats", "chosen"),
    [
        # An address that names a file.
        ([both("file")], "file"),
        # Fewer bytes, not fewer lines; but at least 240.
        ([both("144", 144, filesize=1), both("240", 240, filesize=9)], "240"),
        ([both("240", 240, filesize=9), both("360", 360, filesize=7)], "360"),
        ([both("360", 360, filesize=9), both("240", 240, filesize_approx=7)], "240"),
        ([both("360", 360, tbr=500), both("720", 720, tbr=2000), both("240", 240, tbr=600)], "360"),
        # Bytes from the bit rate and the length are bytes like others.
        ([both("360", 360, tbr=80), both("480", 480, filesize=99_000)], "480"),
        # Nothing known but the lines.
        ([both("1080", 1080), both("480", 480), both("144", 144)], "480"),
        # What is known comes before what is not.
        ([both("240", 240), both("360", 360, filesize=9)], "360"),
        # Sound and pictures apart: the smallest of each, where that is less.
        (
            [
                both("18", 360, filesize=100),
                mute("133", 240, filesize=40),
                mute("134", 360, filesize=50),
                mute("160", 144, filesize=10),
                sound("139", filesize=20),
                sound("140", filesize=30),
            ],
            "133+139",
        ),
        (
            [
                both("18", 360, filesize=50),
                mute("133", 240, filesize=40),
                sound("139", filesize=20),
            ],
            "18",
        ),
        # The short side counts.
        ([both("a", 256, width=144, filesize=1), both("b", 426, width=240, filesize=2)], "b"),
        # None has as many lines: what may have them, else the one with the most.
        ([both("144", 144), both("unknown")], "unknown"),
        ([both("144", 144, filesize=9), both("96", 96, filesize=1)], "144"),
        ([both("a", 144, filesize=9), both("b", 144, filesize=8)], "b"),
        ([both("low", tbr=100), both("high", tbr=900)], "high"),
        # No sound, no pictures: the extraction says so.
        ([mute("a", 360, filesize=9), mute("b", 240, filesize=5)], "b"),
        ([sound("a", filesize=9), sound("b", filesize=5)], "b"),
        # The video's own language.
        (
            [
                mute("133", 240, filesize=40),
                sound("dubbed", filesize=10, language_preference=-10),
                sound("own", filesize=20, language_preference=10),
            ],
            "133+own",
        ),
        # Pictures in rows for a player's bar are none.
        (
            [
                both("sb", 360, filesize=1, vcodec="none", acodec="none"),
                both("18", 360, filesize=9),
            ],
            "18",
        ),
        # What is locked is none.
        ([both("drm", 240, filesize=1, has_drm=True), both("18", 360, filesize=9)], "18"),
    ],
)
def test_the_smallest_with_sound_and_240_lines(formats, chosen):
    for offered in (formats, formats[::-1]):
        info = {"id": "v", "title": "v", "extractor": "x", "duration": 10, "formats": list(offered)}
        with yt_dlp.YoutubeDL({"format": smallest, "quiet": True}) as ydl:
            found = ydl.process_ie_result(info, download=False)
        assert found["format_id"] == chosen
        parts = [part["format_id"] for part in found.get("requested_formats", [])]
        assert "+".join(parts) == (chosen if "+" in chosen else "")
