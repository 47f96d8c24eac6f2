"""Real downloads by yt-dlp, from a server on this machine."""

import errno
import os
import signal

import pytest
from yt_dlp.networking.exceptions import TransportError
from yt_dlp.utils import ExtractorError, UnsupportedError

from media import Limits, probe
from pipeline.download import Downloader, DownloadError
from pipeline.downloading import cause_of, is_public


@pytest.fixture(scope="module")
def downloader():
    downloader = Downloader(Limits(max_bytes=2_000_000), 60, allow_local_network=True)
    yield downloader
    downloader.close()


def test_a_file_arrives_byte_for_byte(downloader, server, videos, tmp_path):
    path = downloader.fetch(f"{server.url}/short%20one.mp4", str(tmp_path))
    with open(path, "rb") as file:
        assert file.read() == (videos / "short one.mp4").read_bytes()


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("fail/404/a.mp4", "not_found"),
        ("fail/410/a.mp4", "gone"),
        ("fail/401/a.mp4", "private"),
        ("fail/403/a.mp4", "blocked"),
        ("fail/429/a.mp4", "blocked"),
        ("fail/500/a.mp4", "network"),
        ("fail/loop/a.mp4", "network"),
        ("words.html", "not_found"),
        ("fail/endless/a.mp4", "too_large"),
    ],
)
def test_every_failure_has_its_cause(downloader, server, tmp_path, path, cause):
    with pytest.raises(DownloadError) as raised:
        downloader.fetch(f"{server.url}/{path}", str(tmp_path))
    assert raised.value.cause == cause, raised.value
    assert raised.value.message
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2_100_000


def test_sound_and_pictures_apart_are_joined(downloader, server, tmp_path):
    path = downloader.fetch(f"{server.url}/streams/whole.m3u8", str(tmp_path))
    found = probe(path)
    assert {stream.kind for stream in found.streams} == {"video", "audio"}
    assert 5.5 < found.duration_seconds < 6.5


@pytest.mark.parametrize("playlist", ["live.m3u8", "locked.m3u8"])
def test_what_only_ffmpeg_could_download_is_refused(downloader, server, tmp_path, playlist):
    """ffmpeg would resolve names itself, and so get past the guard."""
    with pytest.raises(DownloadError) as raised:
        downloader.fetch(f"{server.url}/streams/{playlist}", str(tmp_path))
    assert raised.value.cause == "unsupported", raised.value
    assert not any("secret" in path for path in server.requests)


def test_a_full_disk_is_no_fault_of_the_video(downloader, server, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    os.symlink("/dev/full", full / "media.mkv.part")
    with pytest.raises(OSError, match="No space left") as raised:
        downloader.fetch(f"{server.url}/other.mkv", str(full))
    assert raised.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("error", "message", "cause"),
    [
        (TransportError("refused"), "[generic] private-beach: refused", "network"),
        (ExtractorError("This video is private"), "[x] rate-limit: it is private", "private"),
        (ExtractorError("no"), "[youtube] ab:c_1: Sign in to confirm you're not a bot", "blocked"),
        (ExtractorError("no"), "[youtube] abc: Video unavailable", "gone"),
        (UnsupportedError("u"), "private", "unsupported"),
        (ExtractorError("odd"), "[x] private: odd", "download_error"),
    ],
)
def test_causes_are_read_off_errors_first_and_never_off_a_name(error, message, cause):
    assert cause_of(error, message) == cause


def test_no_host_of_that_name_is_permanent_or_network(downloader, tmp_path):
    """Where there is no name service at all, the answer may be either."""
    with pytest.raises(DownloadError) as raised:
        downloader.fetch("http://no-such-host.invalid/a.mp4", str(tmp_path))
    assert raised.value.cause in ("not_found", "network"), raised.value


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/a", "ytsearch:cats"])
def test_only_http_is_downloaded(downloader, tmp_path, url):
    with pytest.raises(DownloadError) as raised:
        downloader.fetch(url, str(tmp_path))
    assert raised.value.cause == "forbidden"


def test_the_local_network_is_out_of_reach_unless_allowed(server, tmp_path):
    downloader = Downloader(Limits(), 60)
    try:
        port = server.server_port
        for host in ("127.0.0.1", "localhost", "[::1]", "2130706433", "[::ffff:127.0.0.1]"):
            with pytest.raises(DownloadError) as raised:
                downloader.fetch(f"http://{host}:{port}/other.mkv", str(tmp_path))
            assert raised.value.cause == "forbidden", raised.value
        assert server.requests == []
    finally:
        downloader.close()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::10.0.0.1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
    ],
)
def test_what_is_public(address, public):
    assert is_public(address) is public


def test_a_download_that_hangs_ends_at_its_time_limit(server, videos, tmp_path):
    downloader = Downloader(Limits(), seconds=6, allow_local_network=True)
    try:
        with pytest.raises(DownloadError) as raised:
            downloader.fetch(f"{server.url}/fail/drip/a.mp4", str(tmp_path))
        assert raised.value.cause == "timeout"
        assert downloader.fetch(f"{server.url}/other.mkv", str(tmp_path))
    finally:
        downloader.close()


def test_a_downloading_process_that_dies_costs_one_download(server, tmp_path):
    downloader = Downloader(Limits(), 60, allow_local_network=True)
    try:
        downloader.fetch(f"{server.url}/other.mkv", str(tmp_path))
        os.kill(downloader._process.pid, signal.SIGKILL)
        downloader._process.wait()
        assert downloader.fetch(f"{server.url}/other.mkv", str(tmp_path))
    finally:
        downloader.close()
