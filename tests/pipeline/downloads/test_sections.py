"""Sections of videos, taken by ffmpeg through the gateway from servers on this machine."""

import contextlib
import functools
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from yt_dlp.networking import Request

import media
from media import Limits, process
from media.guard import ForbiddenAddress
from pipeline.downloads.download import Downloader, DownloadError
from pipeline.downloads.sections import Gateway, NoSections, _Place, _playlist
from tests.pipeline.conftest import serving


@pytest.fixture(scope="module")
def downloader():
    downloader = Downloader(Limits(), 120, allow_local_network=True)
    yield downloader
    downloader.close()


def ffmpeg(*arguments: object) -> None:
    command = [process.binary(), "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=120)


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """A folder of one video of 40 s in several forms, a key frame every 2 s, and a tone that rises;
    and one of 8 minutes and 130 MB."""
    folder = tmp_path_factory.mktemp("far")
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=40"),
        *("-f", "lavfi", "-i", "aevalsrc=sin(2*PI*(200+5*t)*t)/2:s=44100:d=40"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "50", "-c:a", "aac"),
        folder / "film.mp4",
    )
    copy = ("-i", folder / "film.mp4", "-c", "copy")
    hls = ("-f", "hls", "-hls_time", "2", "-hls_playlist_type", "vod")
    ffmpeg(*copy, folder / "film.mkv")
    ffmpeg(*copy, "-movflags", "+faststart", folder / "first.mp4")
    ffmpeg(*copy, *hls, "-hls_segment_filename", folder / "s%d.ts", folder / "ts.m3u8")
    pieces = ("-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", "init.mp4")
    pieces += ("-hls_segment_filename", folder / "s%d.m4s")
    ffmpeg(*copy, *hls, *pieces, folder / "mp4.m3u8")
    (folder / "key").write_bytes(b"0123456789abcdef")
    (folder / "info").write_text(f"key\n{folder / 'key'}\n")
    locked = ("-hls_key_info_file", folder / "info", "-hls_segment_filename", folder / "k%d.ts")
    ffmpeg(*copy, *hls, *locked, folder / "locked.m3u8")
    for kind, other in (("v", "-an"), ("a", "-vn")):
        apart = ("-hls_segment_filename", folder / f"{kind}%d.ts", folder / f"{kind}.m3u8")
        ffmpeg(*copy, other, *hls, *apart)
    (folder / "apart.m3u8").write_text(
        "#EXTM3U\n"
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",DEFAULT=YES,URI="a.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=90000,RESOLUTION=320x240,CODECS="avc1.42c00b",AUDIO="a"\n'
        "v.m3u8\n"
    )
    ffmpeg(*copy, "-f", "dash", "-seg_duration", "2", folder / "dash.mpd")
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=10,noise=alls=60:allf=t"),
        *("-f", "lavfi", "-i", "sine=duration=10", "-c:v", "mpeg4", "-b:v", "2M", "-g", "25"),
        *("-c:a", "aac", folder / "piece.mp4"),
    )
    ffmpeg("-stream_loop", 49, "-i", folder / "piece.mp4", "-c", "copy", folder / "long.mp4")
    return folder


@pytest.fixture
def site(far):
    with serving(far, far) as server:
        yield server


@pytest.fixture(scope="module")
def wholes(downloader, far, tmp_path_factory):
    """A function that gives a whole download, made once."""

    @functools.cache
    def whole(name: str) -> str:
        with serving(far, far) as server:
            folder = str(tmp_path_factory.mktemp("whole"))
            return downloader.fetch(f"{server.url}/{name}", folder).path

    return whole


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The mean difference of two sounds, as a share of the first, where they fit best within 2 ms;
    the first and the last tenth of a second aside (half a sample is up to a tenth)."""
    edge, most = 2205, 44
    assert abs(len(one) - len(other)) <= most
    middle = one[edge : min(len(one), len(other)) - edge].astype(float)
    shifted = (other[edge + by :][: len(middle)] for by in range(-most, most + 1))
    return min(np.abs(middle - part).mean() for part in shifted) / np.abs(middle).mean()


FORMS = ["film.mkv", "streams/ts.m3u8", "streams/mp4.m3u8", "streams/locked.m3u8"]
FORMS += ["streams/apart.m3u8", "streams/dash.mpd"]


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        *(("film.mp4", *section) for section in ((11.3, 31.3), (0, 12), (None, 12), (25, None))),
        *((name, *section) for name in FORMS for section in ((11.3, 31.3), (None, 12.0))),
    ],
)
def test_a_section_holds_what_the_whole_holds_there(
    downloader, site, wholes, tmp_path, name, start, end
):
    whole = wholes(name)
    got = downloader.fetch(f"{site.url}/{name}", str(tmp_path), start, end)
    assert got.bytes < 0.8 * os.path.getsize(whole)
    begin = max(0.0, (start or 0.0) - got.offset)
    stop = None if end is None else end - got.offset
    found = list(media.extract(got.path, start=begin, end=stop))
    wanted = list(media.extract(whole, start=start, end=end))
    assert len(found) == len(wanted) >= 1
    for here, there in zip(found, wanted, strict=True):
        assert got.offset + here.start_seconds == pytest.approx(there.start_seconds, abs=0.05)
        assert difference(there.pcm, here.pcm) < 0.1
        assert len(here.frames) == len(there.frames)
        for one, other in zip(here.frames, there.frames, strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize("name", ["long.mp4", "first.mp4"])
def test_a_section_of_a_long_file_moves_a_small_part_of_it(downloader, site, far, tmp_path, name):
    size = (far / name).stat().st_size
    if name == "long.mp4":
        assert size > 110_000_000
        got = downloader.fetch(f"{site.url}/{name}", str(tmp_path), 200.0, 210.0)
        assert 198 < got.offset <= 199
        assert got.bytes < size / 20
        # Twice what is wanted would be a tenth; the rest lies in the buffers of connections that
        # are closed when ffmpeg jumps.
        assert sum(site.sent.values()) < size / 4
    else:
        assert downloader.fetch(f"{site.url}/{name}", str(tmp_path), None, 3.0).bytes < size / 5


def test_a_site_that_gives_no_parts_gives_the_whole(downloader, site, far, tmp_path):
    address = f"{site.url}/fail/norange/film.mp4"
    got = downloader.fetch(address, str(tmp_path), 10.0, 12.0)
    assert got.offset == 0.0
    assert got.bytes == (far / "film.mp4").stat().st_size
    # The beginning can be had even so, where the index comes first.
    address = f"{site.url}/fail/norange/first.mp4"
    assert downloader.fetch(address, str(tmp_path), None, 3.0).bytes < got.bytes / 5


def test_a_stream_whose_clock_jumps_gives_the_whole(downloader, site, far, wholes, tmp_path):
    """As one with advertisements in it does; no time of it can be found without what comes
    before."""
    playlist = (far / "ts.m3u8").read_text().replace("s3.ts", "s3.ts\n#EXT-X-DISCONTINUITY")
    (far / "jump.m3u8").write_text(playlist)
    got = downloader.fetch(f"{site.url}/streams/jump.m3u8", str(tmp_path), 10.0, 12.0)
    assert (got.offset, got.bytes) == (0.0, os.path.getsize(wholes("streams/ts.m3u8")))


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("fail/404/film.mp4", "not_found"),
        ("fail/429/film.mp4", "rate_limited"),
        ("fail/cut/film.mkv", "network"),
        ("fail/chunked-cut/film.mkv", "network"),
        ("fail/reset/film.mkv", "network"),
        ("fail/more/film.mkv", "network"),
        ("streams/gone.m3u8", "not_found"),
        ("streams/mixed.m3u8", "forbidden"),
    ],
)
def test_a_section_fails_as_the_whole_would(downloader, site, far, tmp_path, path, cause):
    playlist = (far / "ts.m3u8").read_text()
    (far / "gone.m3u8").write_text(playlist.replace("s3.ts", "no.ts"))
    (far / "mixed.m3u8").write_text(playlist.replace("s3.ts", "file:///etc/passwd"))
    with pytest.raises(DownloadError) as raised:
        # To the film's end: a section that is there before the fault may well be had.
        downloader.fetch(f"{site.url}/{path}", str(tmp_path), None, 39.0)
    assert raised.value.cause == cause, raised.value
    assert raised.value.retry_after == (1.0 if cause == "rate_limited" else None)
    assert not [file for file in tmp_path.iterdir() if file.suffix != ".part"]


def test_what_ffmpeg_cannot_read_is_told_in_its_words(downloader, site, far, tmp_path):
    (far / "words.mp4").write_text("no video, but of some length\n" * 100)
    with pytest.raises(DownloadError) as raised:
        downloader.fetch(f"{site.url}/words.mp4", str(tmp_path), 1.0, 2.0)
    assert raised.value.cause == "download_error"
    assert "Invalid data found" in raised.value.message
    assert [path for path in site.requests if "words" in path][2:] == [], "and never the whole"


def test_a_section_that_is_too_large(site, tmp_path):
    downloader = Downloader(Limits(max_bytes=500_000), 60, allow_local_network=True)
    try:
        with pytest.raises(DownloadError) as raised:
            downloader.fetch(f"{site.url}/long.mp4", str(tmp_path), 100.0, 110.0)
        assert raised.value.cause == "too_large"
    finally:
        downloader.close()


def alive(group: int) -> bool:
    """Whether a process of a group runs; those who only wait for their parent's word don't."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = file.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                return True
    return False


def test_a_section_that_hangs_ends_with_its_ffmpeg(site, tmp_path):
    downloader = Downloader(Limits(), 60, allow_local_network=True)
    try:
        downloader.fetch(f"{site.url}/first.mp4", str(tmp_path), None, 1.0)
        group = downloader._process.pid
        downloader.seconds = 2
        with pytest.raises(DownloadError, match="slow"):
            downloader.fetch(f"{site.url}/fail/drip/film.mp4", str(tmp_path), None, 1.0)
        deadline = time.monotonic() + 30
        while alive(group):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        downloader.close()


def test_an_address_need_not_tell_what_it_is(downloader, site, far, tmp_path):
    (far / "film").write_bytes((far / "film.mp4").read_bytes())
    assert 9 < downloader.fetch(f"{site.url}/film", str(tmp_path), 11.0, 12.0).offset <= 10


@pytest.fixture
def secret():
    """A port of this machine's that notes who knocks."""
    knocks = []
    with socket.create_server(("127.0.0.1", 0)) as door:

        def answer() -> None:
            while True:
                try:
                    caller, _ = door.accept()
                except OSError:
                    return
                knocks.append(caller.recv(1000))
                caller.close()

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{door.getsockname()[1]}", knocks
        door.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def guarded(only_public):
    """A downloader to which 127.0.0.2 is the open internet."""
    downloader = Downloader(Limits(), 60)
    with only_public("127.0.0.2"):
        yield downloader
    downloader.close()


@pytest.mark.parametrize(
    "line",
    [
        "httpproxy://{secret}/a.ts",
        "http://{secret}/a.ts",
        "https://{secret}/a.ts",
        "//{secret}/a.ts",
        "{url}/fail/to/{secret}/a.ts",
        "tcp://{secret}",
        "udp://{secret}",
        "file:///etc/passwd",
        "/etc/passwd",
        "concat:/etc/passwd",
        "data:text/plain,abc",
        "crypto:http://{secret}/a.ts",
        "subfile,,start,0,end,9,,:/etc/passwd",
        "http://[::1]:1/a.ts",
        '#EXT-X-KEY:METHOD=AES-128,URI="http://{secret}/key"\n{url}/streams/s3.ts',
        "#EXT-X-KEY:METHOD=AES-128,URI=http://{secret}/key\n{url}/streams/s3.ts",
        '#EXT-X-MAP:URI="httpproxy://{secret}/init"\n{url}/streams/s3.ts',
        "ok.ts\x0bhttp://{secret}/a.ts",
        "ok.ts\u2028http://{secret}/a.ts",
    ],
)
def test_a_playlist_reaches_nothing_past_the_guard(guarded, far, tmp_path, secret, line):
    """ffmpeg itself would connect to the first of these, whatever proxy it was given."""
    address, knocks = secret
    with serving(far, far, "127.0.0.2") as public:
        playlist = (far / "ts.m3u8").read_text()
        hostile = playlist.replace("s3.ts", line.format(secret=address, url=public.url))
        (far / "hostile.m3u8").write_text(hostile)
        with pytest.raises(DownloadError) as raised:
            guarded.fetch(f"{public.url}/streams/hostile.m3u8", str(tmp_path), 1, 12)
        assert guarded.fetch(f"{public.url}/streams/ts.m3u8", str(tmp_path), 1, 12).bytes
    assert raised.value.cause in ("forbidden", "not_found"), raised.value
    assert knocks == []


def test_the_gateway_gives_only_what_was_admitted():
    """Not even to those on this machine who find its port."""

    def nothing(request: Request):
        raise AssertionError(request.url)

    with Gateway(nothing, None) as gateway:
        for path in ("/", "/0/0.ts", "/../0.ts", "//x/0.ts"):
            with pytest.raises((OSError, urllib.error.URLError)):
                urllib.request.urlopen(gateway.address + path, timeout=5)
        assert all(isinstance(error, ForbiddenAddress) for error in gateway.errors)
        assert len(gateway.errors) == 4
        with pytest.raises(ForbiddenAddress):
            gateway.admit(_Place("file:///etc/passwd"), "")


def test_dash_fragments_become_a_playlist():
    fragments = [{"path": "init"}, {"path": "1", "duration": 2.0}, {"url": "2", "duration": 1.5}]
    lines = _playlist(fragments).splitlines()
    assert lines[1] == "#EXT-X-TARGETDURATION:2"
    assert lines[4:] == [
        '#EXT-X-MAP:URI="init"',
        "#EXTINF:2.000000,",
        "1",
        "#EXTINF:1.500000,",
        "2",
    ]
    for unknown in ([], iter(fragments), [*fragments, {"path": "3"}]):
        with pytest.raises(NoSections):
            _playlist(unknown)
