"""Small real videos, and a server on this machine that fails on purpose."""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.server
import os
import re
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from media import process


def make_video(path: Path, seconds: float, tone: int = 440, *options: str) -> Path:
    """A video with a moving test picture and a tone, 160 x 120."""
    subprocess.run(
        [
            process.binary(),
            *("-v", "error", "-y"),
            *("-f", "lavfi", "-i", f"testsrc2=size=160x120:rate=10:duration={seconds}"),
            *("-f", "lavfi", "-i", f"sine=frequency={tone}:duration={seconds}:sample_rate=44100"),
            *(options or ("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac")),
            str(path),
        ],
        check=True,
        timeout=60,
    )
    return path


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> Path:
    """A folder: three good videos (of 2, 1 and 1 clips) and three that must fail."""
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "long.mp4", 27, 300)
    make_video(folder / "short one.mp4", 6, 500)
    make_video(folder / "other.mkv", 11, 700)
    make_video(folder / "mute.mp4", 3, 100, "-map", "0:v", "-c:v", "libx264")
    make_video(folder / "blip.mp4", 0.5, 900)
    (folder / "words.mp4").write_text("this is no video\n")
    return folder


@pytest.fixture(scope="session")
def streams(videos) -> Path:
    """HLS beside the videos: a whole one with sound and pictures apart, and hostile ones."""
    folder = videos.parent / (videos.name + "-streams")
    folder.mkdir()
    for kind, options in {"v": ("-an", "-c:v", "copy"), "a": ("-vn", "-c:a", "copy")}.items():
        subprocess.run(
            [
                *(process.binary(), "-v", "error", "-i", str(videos / "short one.mp4"), *options),
                *("-f", "hls", "-hls_time", "3", "-hls_playlist_type", "vod"),
                *("-hls_segment_filename", str(folder / f"{kind}%d.ts"), f"{folder}/{kind}.m3u8"),
            ],
            check=True,
            timeout=60,
        )
    (folder / "whole.m3u8").write_text(
        "#EXTM3U\n"
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",DEFAULT=YES,URI="a.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=90000,RESOLUTION=160x120,CODECS="avc1.42c00b",AUDIO="a"\n'
        "v.m3u8\n"
    )
    (folder / "live.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nsecret.ts\n")
    (folder / "locked.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n"
        '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="secret.key"\n#EXTINF:3,\nsecret.ts\n#EXT-X-ENDLIST\n'
    )
    return folder


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, whole or in part, under /streams/ the streams, and under /fail/ what its second
    part says:

    - 404 (or any other status)/*: that; 429 and 503 ask for a second of patience
    - liar/*: an error of this machine's, it says
    - first/STATUS/TIMES/FILE: that status the first times that the address is asked, then the file
    - cut/FILE, chunked-cut/FILE, reset/FILE: the connection ends, or is reset, in the middle
    - more/FILE, less/FILE: the length that is told is larger, or smaller, than what comes
    - norange/FILE: no parts of it
    - slow-first/FILE: the file; where it is asked for the second time, a byte every half second
    - drip/*: a byte every half second; endless/*: no end of them
    - page/*: a page without a video; endless-page/*: one without an end; bomb/*: 2 GB in 2 MB
    - loop/*: redirects in a circle; to/HOST:PORT/PATH: a redirect

    `?anything` makes another address of any of these.
    """

    protocol_version = "HTTP/1.1"
    timeout = 60

    def setup(self) -> None:
        # So that `sent` is close to what was taken.
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        super().setup()

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.requests.append(self.path)
            server.headers.append(self.headers)
            times = server.asked[self.path]
            times.append(time.monotonic())
        kind, _, rest = urlsplit(self.path).path.removeprefix("/fail/").partition("/")
        try:
            if not self.path.startswith("/fail/"):
                self._file(self.path)
            elif kind.isdigit():
                self._status(int(kind))
            elif kind == "slow-first":
                (self._drip if len(times) == 2 else self._file)(rest)
            elif kind == "first":
                status, often, name = rest.split("/", 2)
                if len(times) <= int(often):
                    self._status(int(status))
                else:
                    self._file(name)
            else:
                getattr(self, "_" + kind.replace("-", "_"))(rest)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_GET

    def translate_path(self, path: str) -> str:
        name = unquote(Path(urlsplit(path).path).name)
        folder = self.server.streams if path.startswith("/streams/") else self.directory
        return str(Path(folder) / name)

    def _status(self, status: int) -> None:
        wait = {"Retry-After": "1"} if status in (429, 503) else {}
        self._head(status, **wait, **{"Content-Length": "5"})
        self._body(b"sorry")

    def _liar(self, name: str) -> None:
        words = "unable to write data: [Errno 28] No space left on device"
        self.send_response(404, words)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _file(self, name: str) -> None:
        path = Path(self.translate_path(name))
        if not path.is_file():
            self._status(404)
            return
        size, first, last = path.stat().st_size, 0, path.stat().st_size - 1
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or last), last)
            if first > last:
                self._head(416, **{"Content-Length": "0", "Content-Range": f"bytes */{size}"})
                return
        self._head(
            206 if wanted else 200,
            **{"Content-Type": self.guess_type(str(path)), "Accept-Ranges": "bytes"},
            **{"Content-Length": str(last - first + 1)},
            **({"Content-Range": f"bytes {first}-{last}/{size}"} if wanted else {}),
        )
        with path.open("rb") as file:
            file.seek(first)
            while first <= last:
                block = file.read(min(65536, last - first + 1))
                self._body(block)
                first += len(block)

    def _bytes(self, name: str) -> bytes:
        path = Path(self.translate_path(name))
        return path.read_bytes() if path.is_file() else bytes(100_000)

    def _part(self, name: str, **headers: str) -> bytes:
        """The head of a file's answer with odd headers; returns the file."""
        self.close_connection = True
        self._head(200, **{"Content-Type": self.guess_type(name), "Connection": "close"}, **headers)
        return self._bytes(name)

    def _cut(self, name: str) -> None:
        data = self._part(name, **{"Content-Length": str(len(self._bytes(name)))})
        self._body(data[: len(data) // 2])

    def _reset(self, name: str) -> None:
        self._cut(name)
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        os.close(self.connection.detach())

    def _chunked_cut(self, name: str) -> None:
        data = self._part(name, **{"Transfer-Encoding": "chunked"})
        half = data[: len(data) // 2]
        self._body(b"%x\r\n%s\r\n" % (len(half), half) + b"%x\r\n" % len(half))

    def _more(self, name: str) -> None:
        self._body(self._part(name, **{"Content-Length": str(len(self._bytes(name)) + 1000)}))

    def _less(self, name: str) -> None:
        self._body(self._part(name, **{"Content-Length": str(len(self._bytes(name)) - 1000)}))

    def _norange(self, name: str) -> None:
        self._body(self._part(name, **{"Content-Length": str(len(self._bytes(name)))}))

    def _drip(self, name: str) -> None:
        self._part(name, **{"Content-Length": "100000"})
        for _ in range(60):
            self._body(b"\0")
            self.wfile.flush()
            time.sleep(0.5)

    def _endless(self, name: str) -> None:
        self._part("a.mp4")
        while True:
            self._body(bytes(65536))

    def _page(self, name: str) -> None:
        page = b"<!doctype html><html><title>A page</title><p>Nothing to see.</html>"
        self._head(200, **{"Content-Type": "text/html", "Content-Length": str(len(page))})
        self._body(page)

    def _endless_page(self, name: str) -> None:
        self._part("a.html")
        self._body(b"<!doctype html><html>")
        while True:
            self._body(b"<p>And so on." * 5000)

    def _bomb(self, name: str) -> None:
        self._part("a.html", **{"Content-Encoding": "gzip"})
        self._body(gzip.compress(b"<!doctype html><html>"))
        more = gzip.compress(b"<p>And so on.    " * 2**20)
        for _ in range(128):
            self._body(more)

    def _loop(self, name: str) -> None:
        self._head(302, **{"Location": self.path, "Content-Length": "0"})

    def _to(self, address: str) -> None:
        self._head(302, **{"Location": f"http://{address}", "Content-Length": "0"})

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _body(self, data: bytes) -> None:
        for start in range(0, 0 if self.command == "HEAD" else len(data), 65536):
            block = data[start : start + 65536]
            self.wfile.write(block)
            with self.server.lock:
                self.server.sent[self.path] += len(block)

    def log_message(self, *args: object) -> None:
        pass


class Server(socketserver.ThreadingTCPServer):
    """Not an HTTPServer, which asks the name service who it is."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError):  # whoever asked is gone
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serving(folder: Path, streams: Path, host: str = "127.0.0.1") -> Iterator[Server]:
    """A folder by HTTP on this machine; `.url` is the address.

    `.requests` are the paths asked for, in order, and `.headers` what was sent with them; `.asked`
    the times (time.monotonic) of each path; `.sent` the bytes of the bodies sent for each.
    """
    server = Server((host, 0), functools.partial(Handler, directory=str(folder)))
    server.lock = threading.Lock()
    server.requests, server.headers = [], []
    server.asked, server.sent = defaultdict(list), Counter()
    server.streams = streams
    server.server_port = server.server_address[1]
    server.url = f"http://{host}:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(videos, streams):
    """The videos by HTTP on this machine, see `serving`."""
    with serving(videos, streams) as server:
        yield server


@pytest.fixture(scope="session")
def only_public(tmp_path_factory):
    """A context: downloading processes that start in it take only these addresses for public ones,
    so that this machine can be the open internet and its local network at once."""

    @contextlib.contextmanager
    def only(*addresses: str) -> Iterator[None]:
        folder = tmp_path_factory.mktemp("site")
        rule = f"guard.is_public = lambda address: address in {addresses}"
        (folder / "sitecustomize.py").write_text(f"from media import guard\n{rule}\n")
        paths = [str(folder), str(Path(__file__).resolve().parents[2])]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", os.pathsep.join(paths))
            yield

    return only
