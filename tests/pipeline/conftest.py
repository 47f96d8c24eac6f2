"""Small real videos, and a server on this machine that fails on purpose."""

from __future__ import annotations

import http.server
import subprocess
import threading
import time
from pathlib import Path

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
    """Serves files, under /streams/ the streams, and under /fail/ one way of failing a path."""

    def translate_path(self, path: str) -> str:
        if path.startswith("/streams/"):
            return str(self.server.streams / Path(path).name)
        return super().translate_path(path)

    def do_GET(self) -> None:
        kind = self.path.split("/")[2] if self.path.startswith("/fail/") else ""
        if kind.isdigit():
            self.send_error(int(kind))
        elif kind == "loop":
            self._head(302, Location=self.path)
        elif kind == "to":
            self._head(302, Location="http://" + "/".join(self.path.split("/")[3:]))
        elif kind == "endless":
            self._head(200, **{"Content-Type": "video/mp4"})
            try:
                while True:
                    self.wfile.write(b"\0" * 65536)
            except OSError:
                pass
        elif kind == "drip":
            self._head(200, **{"Content-Type": "video/mp4", "Content-Length": "100000"})
            try:
                for _ in range(60):
                    self.wfile.write(b"\0")
                    self.wfile.flush()
                    time.sleep(0.5)
            except OSError:
                pass
        elif kind == "cut":
            self._head(200, **{"Content-Type": "video/mp4", "Content-Length": "100000"})
            self.wfile.write(b"\0" * 500)
        else:
            super().do_GET()

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        self.server.requests.append(self.path)


@pytest.fixture
def server(videos, streams):
    """The videos by HTTP on this machine; `.url` is the address, `.requests` what was asked for."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *args: Handler(*args, directory=str(videos))
    )
    server.daemon_threads = True
    server.requests = []
    server.streams = streams
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
