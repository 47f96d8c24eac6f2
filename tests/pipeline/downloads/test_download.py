"""Real downloads by yt-dlp, from servers on this machine."""

import errno
import os
import signal
import socket
import time
from email.utils import formatdate

import pytest
from yt_dlp.networking import Response
from yt_dlp.networking.exceptions import CertificateVerifyError, HTTPError, TransportError
from yt_dlp.utils import ExtractorError, UnsupportedError

from media import Limits, probe
from media.guard import ForbiddenAddress, guard_network, is_public
from pipeline.downloads.causes import LONGEST_RETRY_AFTER, cause_of, read_retry_after, retry_after
from pipeline.downloads.download import Downloader, DownloadError
from schemas.ledger import CAUSES
from tests.pipeline.conftest import serving


@pytest.fixture(scope="module")
def downloader():
    downloader = Downloader(Limits(max_bytes=2_000_000), 60, allow_local_network=True)
    yield downloader
    downloader.close()


def status_of(process, name: str) -> int:
    """Kilobytes of a line of a process's status."""
    with open(f"/proc/{process.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))


def test_a_file_arrives_byte_for_byte(downloader, server, videos, tmp_path):
    got = downloader.fetch(f"{server.url}/short%20one.mp4", str(tmp_path))
    with open(got.path, "rb") as file:
        assert file.read() == (videos / "short one.mp4").read_bytes()
    assert got.offset == 0.0
    assert got.bytes == (videos / "short one.mp4").stat().st_size


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("fail/404/a.mp4", "not_found"),
        ("fail/liar/a.mp4", "not_found"),
        ("fail/410/a.mp4", "gone"),
        ("fail/401/a.mp4", "private"),
        ("fail/403/a.mp4", "refused"),
        ("fail/400/a.mp4", "download_error"),
        ("fail/408/a.mp4", "network"),
        ("fail/429/a.mp4", "rate_limited"),
        ("fail/451/a.mp4", "region"),
        ("fail/500/a.mp4", "server_error"),
        ("fail/503/a.mp4", "server_error"),
        ("fail/loop/a.mp4", "download_error"),
        ("fail/cut/other.mkv", "network"),
        ("fail/chunked-cut/other.mkv", "network"),
        ("fail/reset/other.mkv", "network"),
        ("fail/more/other.mkv", "network"),
        ("fail/page/a.html", "unsupported"),
        ("words.html", "not_found"),
        ("fail/endless/a.mp4", "too_large"),
        ("fail/endless-page/a.html", "too_large"),
        ("fail/bomb/a.html", "too_large"),
    ],
)
def test_every_failure_has_its_cause(downloader, server, tmp_path, path, cause):
    with pytest.raises(DownloadError) as raised:
        downloader.fetch(f"{server.url}/{path}", str(tmp_path))
    assert raised.value.cause == cause, raised.value
    assert cause in CAUSES
    assert raised.value.message
    assert raised.value.retry_after == (1.0 if "429" in path or "503" in path else None)
    assert not list(tmp_path.glob("media.mkv")), "what was cut off is no video"
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2_100_000
    # The schedule above tries again after a while; nothing here does so at once and for long.
    assert len(server.asked[f"/{path}"]) <= (31 if "loop" in path else 3)


def test_a_refused_connection_is_the_networks(downloader, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DownloadError) as raised:
        downloader.fetch(f"http://127.0.0.1:{port}/a.mp4", str(tmp_path))
    assert raised.value.cause == "network"


def test_what_fails_at_first_may_succeed_later(downloader, server, videos, tmp_path):
    address = f"{server.url}/fail/first/503/2/other.mkv"
    for _ in range(2):
        with pytest.raises(DownloadError, match="server_error"):
            downloader.fetch(address, str(tmp_path))
    assert downloader.fetch(address, str(tmp_path)).bytes == (videos / "other.mkv").stat().st_size


def test_a_length_that_is_told_too_short_is_believed(downloader, server, videos, tmp_path):
    """HTTP itself can't tell that there would have been more; ffmpeg judges what is there."""
    got = downloader.fetch(f"{server.url}/fail/less/other.mkv", str(tmp_path))
    assert got.bytes == (videos / "other.mkv").stat().st_size - 1000
    # What was left on the connection is nobody's answer.
    assert downloader.fetch(f"{server.url}/other.mkv", str(tmp_path)).bytes == got.bytes + 1000


def test_a_folder_that_was_used_before_gives_nothing_old(downloader, server, videos, tmp_path):
    (tmp_path / "media.mkv").write_bytes(b"another video")
    (tmp_path / "media.mkv.part").write_bytes(b"half of another video")
    got = downloader.fetch(f"{server.url}/other.mkv", str(tmp_path))
    with open(got.path, "rb") as file:
        assert file.read() == (videos / "other.mkv").read_bytes()


@pytest.mark.parametrize("name", ["$HOME 100% ~", "%(title)s", "-y", "a'b\"c;d\ne"])
def test_a_folder_may_have_any_name(downloader, server, videos, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    got = downloader.fetch(f"{server.url}/other.mkv", str(folder))
    assert os.path.dirname(got.path) == str(folder)


def test_sound_and_pictures_apart_are_joined(downloader, server, tmp_path):
    got = downloader.fetch(f"{server.url}/streams/whole.m3u8", str(tmp_path))
    found = probe(got.path)
    assert {stream.kind for stream in found.streams} == {"video", "audio"}
    assert 5.5 < found.duration_seconds < 6.5


def test_a_live_stream_is_refused(downloader, server, tmp_path):
    with pytest.raises(DownloadError) as raised:
        downloader.fetch(f"{server.url}/streams/live.m3u8", str(tmp_path))
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
        (CertificateVerifyError("expired"), "expired", "download_error"),
        (MemoryError(), "", "too_large"),
        (ExtractorError("This video is private"), "[x] rate-limit: it is private", "private"),
        (ExtractorError("no"), "[youtube] ab: Sign in to confirm you’re not a bot", "bot_check"),
        (
            ExtractorError("no"),
            "HTTP Error 403 caused by Cloudflare anti-bot challenge",
            "bot_check",
        ),
        (ExtractorError("no"), "[youtube] ab: session has been rate-limited", "rate_limited"),
        (ExtractorError("no"), "[x] ab: HTTP Error 429: Too Many Requests", "rate_limited"),
        (ExtractorError("no"), "[x] ab: unable to fetch: HTTP Error 502: Bad", "server_error"),
        (ExtractorError("no"), "[youtube] abc: Video unavailable", "gone"),
        (
            ExtractorError("no"),
            "[youtube] abc: Video unavailable. It is not available in your country",
            "region",
        ),
        (UnsupportedError("u"), "private", "unsupported"),
        (ExtractorError("odd"), "[x] private: odd", "download_error"),
    ],
)
def test_causes_are_read_off_errors_first_and_never_off_a_name(error, message, cause):
    assert cause_of(error, message) == cause


@pytest.mark.parametrize(
    ("number", "service", "cause"),
    [
        (socket.EAI_NONAME, True, "no_such_host"),
        (socket.EAI_NONAME, False, "network"),
        (socket.EAI_AGAIN, True, "network"),
    ],
)
def test_a_host_is_unknown_only_where_names_are_resolved(monkeypatch, number, service, cause):
    """A machine that has lost its network finds no host; that is no fault of the videos'."""

    def resolve(host, *_):
        if service:
            return []
        raise socket.gaierror(socket.EAI_NONAME, host)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    error = ExtractorError("no", cause=TransportError(cause=socket.gaierror(number, "unknown")))
    assert cause_of(error, "") == cause


def test_no_host_of_that_name(downloader, tmp_path):
    """The network's fault where this machine resolves no names."""
    with pytest.raises(DownloadError) as raised:
        downloader.fetch("http://no-such-host.invalid/a.mp4", str(tmp_path))
    assert raised.value.cause in ("no_such_host", "network"), raised.value


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("9" * 400, LONGEST_RETRY_AFTER),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2915 07:28:00 GMT", LONGEST_RETRY_AFTER),
        ("-5", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_how_long_a_site_asks_to_wait(header, seconds):
    assert read_retry_after(header) == seconds


def test_a_site_may_name_the_time_from_which_on_it_may_be_asked():
    seconds = read_retry_after(formatdate(time.time() + 100, usegmt=True))
    assert 90 < seconds <= 100
    answer = Response(None, "http://x", {"Retry-After": "7"}, status=429)
    assert retry_after(ExtractorError("no", cause=HTTPError(answer))) == 7.0


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/a", "ytsearch:cats", "//a"])
def test_only_http_is_downloaded(downloader, tmp_path, url):
    with pytest.raises(DownloadError) as raised:
        downloader.fetch(url, str(tmp_path))
    assert raised.value.cause == "forbidden"


@pytest.mark.parametrize("url", ["http://[bad/a.mp4", "http://" + "a" * 9000, "http://a..b/\ud800"])
def test_what_is_no_address_is_refused(downloader, tmp_path, url):
    with pytest.raises(DownloadError) as raised:
        downloader.fetch(url, str(tmp_path))
    assert CAUSES[raised.value.cause].permanent, raised.value


def test_the_local_network_is_out_of_reach_unless_allowed(server, tmp_path):
    downloader = Downloader(Limits(), 60)
    try:
        port = server.server_port
        for host in ("127.0.0.1", "localhost", "[::1]", "2130706433", "[::ffff:127.0.0.1]"):
            for section in ((None, None), (1.0, 2.0)):
                with pytest.raises(DownloadError) as raised:
                    downloader.fetch(f"http://{host}:{port}/other.mkv", str(tmp_path), *section)
                assert raised.value.cause == "forbidden", raised.value
        assert server.requests == []
    finally:
        downloader.close()


def test_a_redirect_to_the_local_network_is_not_followed(
    server, videos, streams, tmp_path, only_public
):
    downloader = Downloader(Limits(), 60)
    try:
        with only_public("127.0.0.2"), serving(videos, streams, "127.0.0.2") as public:
            assert downloader.fetch(f"{public.url}/other.mkv", str(tmp_path)).bytes
            for host in (f"127.0.0.1:{server.server_port}", f"localhost:{server.server_port}"):
                with pytest.raises(DownloadError) as raised:
                    downloader.fetch(f"{public.url}/fail/to/{host}/other.mkv", str(tmp_path))
                assert raised.value.cause == "forbidden", raised.value
        assert server.requests == []
    finally:
        downloader.close()


def test_a_name_is_judged_by_all_the_addresses_that_it_has(monkeypatch):
    """And by those that it has at the moment: nothing resolves it a second time."""
    found = {
        "video.example.com": ["8.8.8.8"],
        "inward.example.com": ["127.0.0.1"],
        "both.example.com": ["8.8.8.8", "192.168.1.1"],
    }
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, port, *_: [(socket.AF_INET, 1, 6, "", (ip, port)) for ip in found[host]],
    )
    guard_network()
    assert socket.getaddrinfo("video.example.com", 80)
    for host in ("inward.example.com", "both.example.com"):
        with pytest.raises(ForbiddenAddress, match="not a public address"):
            socket.getaddrinfo(host, 80)


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


def test_a_page_costs_bounded_memory(server, tmp_path):
    downloader = Downloader(Limits(), 60, allow_local_network=True)
    try:
        for kind in ("bomb", "endless-page"):
            with pytest.raises(DownloadError, match="too_large"):
                downloader.fetch(f"{server.url}/fail/{kind}/a", str(tmp_path))
        assert status_of(downloader._process, "VmHWM") < 400_000
        with open(f"/proc/{downloader._process.pid}/limits") as file:
            assert "Max data size             2147483648" in file.read()
    finally:
        downloader.close()


@pytest.mark.parametrize("name", ["a.mp4", "a.html"])
def test_a_download_that_hangs_ends_at_its_time_limit(server, tmp_path, name):
    downloader = Downloader(Limits(), 60, allow_local_network=True)
    try:
        downloader.fetch(f"{server.url}/other.mkv", str(tmp_path))
        downloader.seconds = 2
        with pytest.raises(DownloadError) as raised:
            downloader.fetch(f"{server.url}/fail/drip/{name}", str(tmp_path))
        assert raised.value.cause == "slow"
        downloader.seconds = 60
        assert downloader.fetch(f"{server.url}/other.mkv", str(tmp_path))
    finally:
        downloader.close()


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGSTOP])
def test_a_downloading_process_that_dies_or_stops_costs_one_download(server, tmp_path, kind):
    downloader = Downloader(Limits(), 60, allow_local_network=True)
    try:
        downloader.fetch(f"{server.url}/other.mkv", str(tmp_path))
        process = downloader._process
        os.kill(process.pid, kind)
        if kind == signal.SIGKILL:
            process.wait()
        else:
            downloader.seconds = 1
            with pytest.raises(DownloadError, match="slow"):
                downloader.fetch(f"{server.url}/other.mkv", str(tmp_path))
            assert process.poll() == -signal.SIGKILL
            downloader.seconds = 60
        assert downloader.fetch(f"{server.url}/other.mkv", str(tmp_path))
    finally:
        downloader.close()


def test_one_process_serves_many_addresses(downloader, server, tmp_path):
    downloader.fetch(f"{server.url}/other.mkv", str(tmp_path))
    process, before = downloader._process, status_of(downloader._process, "VmRSS")
    for number in range(50):
        downloader.fetch(f"{server.url}/other.mkv?{number}", str(tmp_path))
    assert downloader._process is process
    assert status_of(process, "VmRSS") < before + 20_000
