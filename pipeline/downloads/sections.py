"""What ffmpeg does for yt-dlp: it takes a section of a video, and joins sound and pictures.

ffmpeg seeks in a file or a playlist that lies far away, and copies what it finds there. Were it to
reach for it itself, it would resolve names past the guard, whatever a proxy says: a playlist may
name `httpproxy://192.168.0.1`, which it connects to at once. So it is given addresses of this
machine alone, and only the protocol http; behind each the `Gateway` asks for the real one, as
yt-dlp does, guard, cookies, checked certificates and all.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import signal
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import PurePosixPath
from urllib.parse import urljoin, urlsplit

from yt_dlp.downloader.external import FFmpegFD
from yt_dlp.networking import Request, Response
from yt_dlp.networking.exceptions import HTTPError
from yt_dlp.postprocessor.ffmpeg import FFmpegMergerPP
from yt_dlp.utils import UnsupportedError

from media import MediaError, probe, process
from media.guard import ForbiddenAddress, check_scheme
from pipeline.downloads.causes import TooLarge

MARGIN = 1.0
"""Seconds that a section gets more on either side: decoders want some sound before the first that
counts, and the picture shown at a moment comes before it."""

_BLOCK = 1 << 16
_IDLE_SECONDS = 60.0
_SEGMENTS = {".ts", ".m4s", ".mp4", ".m4a", ".m4v", ".aac", ".mp3", ".m3u8"}
_MP4 = {"mp4", "m4v", "m4a", "mov", "3gp"}
_APART = 0.5
_START = re.compile(r"\s+Duration: .*, start: (-?\d+\.\d+)")


class FFmpegError(Exception):
    """ffmpeg can't copy a section; its own words."""


class NoSections(Exception):
    """The site gives whole files only."""


class NothingThere(Exception):
    """The video has nothing in the section."""


@dataclass(frozen=True)
class _Place:
    """What lies behind an address of the gateway: an address to ask, or a text.

    Attributes:
        headers: what the site wants to be asked with.
        playlists: whether what comes may be an HLS playlist, which is rewritten then.
    """

    url: str = ""
    headers: dict[str, str] | None = None
    playlists: bool = False
    text: str = ""


class Gateway:
    """A server on the loopback interface, for one ffmpeg.

    Args:
        open_url: what asks the sites.
        start: where the section starts that ffmpeg will take, in seconds; None for the whole.

    Attributes:
        errors: what went wrong at the sites.
        seekable: whether the sites gave parts of files where they were asked for.
    """

    def __init__(self, open_url: Callable[[Request], Response], start: float | None) -> None:
        self.open_url = open_url
        self.start = start
        self.opening = threading.Lock()  # addresses are opened one by one, and read side by side
        self.errors: list[Exception] = []
        self.seekable = True
        self._token = secrets.token_hex(16)  # others on this machine can't guess it
        self._places: dict[str, _Place] = {}
        self._server = _Server(self)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Gateway:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def admit(self, place: _Place, suffix: str) -> str:
        """An address for a place; ffmpeg judges some of them by their suffix."""
        if place.url:
            check_scheme(place.url)
        path = f"/{self._token}/{len(self._places)}{suffix}"
        self._places[path] = place
        return self.address + path

    def place(self, path: str) -> _Place:
        """What lies behind a path; raises ForbiddenAddress for what was not admitted."""
        try:
            return self._places[path.removeprefix(self.address)]
        except KeyError:
            raise ForbiddenAddress(f"ffmpeg asked for {path[:500]!r}, past the guard") from None

    def rewrite(self, playlist: str, base: str, headers: dict[str, str] | None) -> str:
        """An HLS playlist with addresses of the gateway in place of its own."""
        default = ".m4s" if "#EXT-X-MAP" in playlist else ".ts"

        def admit(address: str) -> str:
            url = urljoin(base, address)
            suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
            suffix = suffix if suffix in _SEGMENTS else default
            return self.admit(_Place(url, headers, playlists=True), suffix)

        lines = []
        for line in filter(None, map(str.strip, playlist.splitlines())):
            if line.startswith("#"):
                line = re.sub(r'URI="([^"]*)"', lambda found: f'URI="{admit(found[1])}"', line)
            else:
                line = admit(line)
            lines.append(line)
        if "#EXT-X-DISCONTINUITY" in lines and self.start is not None:
            raise NoSections("the clock of the stream jumps")
        if "#EXT-X-ENDLIST" not in lines:  # without it, ffmpeg starts near the end
            lines.append("#EXT-X-ENDLIST")
        return "\n".join(lines) + "\n"


class _Server(socketserver.ThreadingTCPServer):
    """Listens to ffmpeg for a gateway."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    """Answers ffmpeg."""

    timeout = _IDLE_SECONDS
    server: _Server

    def do_GET(self) -> None:
        gateway = self.server.gateway
        self.close_connection = True
        try:
            place = gateway.place(self.path)
            if place.text:
                self._give(place.text)
            else:
                self._relay(gateway, place)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            pass  # ffmpeg has what it wants
        except Exception as error:  # noqa: BLE001 - told to the one who started ffmpeg
            # Nothing more is said to ffmpeg, whose connection ends before its time.
            gateway.errors.append(error)

    def _relay(self, gateway: Gateway, place: _Place) -> None:
        wanted = self.headers.get("Range")
        headers = {**(place.headers or {}), "Accept-Encoding": "identity"}
        if wanted:
            headers["Range"] = wanted
        try:
            with gateway.opening:
                response = gateway.open_url(Request(place.url, headers=headers))
        except HTTPError as error:
            if error.status != 416:  # what lies behind the end of a file
                raise
            self.send_error(416)
            return
        with contextlib.closing(response):
            block = response.read(_BLOCK)
            if place.playlists and block.startswith(b"#EXTM3U"):
                text = (block + response.read()).decode(errors="replace")
                self._give(gateway.rewrite(text, response.url, place.headers))
                return
            ranges = response.status == 206 or response.headers.get("Accept-Ranges") == "bytes"
            if not ranges and not place.playlists:
                gateway.seekable = False
                if gateway.start:
                    raise NoSections("the site gives no parts of files")
            self.send_response(response.status)
            names = ["Content-Type", "Content-Range", "Accept-Ranges", "Content-Length"]
            if response.headers.get("Content-Encoding"):
                names.pop()  # the length of what is decoded here
            for name in names:
                if value := response.headers.get(name):
                    self.send_header(name, value)
            self.end_headers()
            while block:
                self.wfile.write(block)
                block = response.read(_BLOCK)

    def _give(self, playlist: str) -> None:
        body = playlist.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.apple.mpegurl")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def download(fd: FFmpegFD, filename: str, info: dict) -> bool:
    """In place of yt-dlp's `FFmpegFD.real_download`; sets `fd.ydl.offset`.

    The file keeps the times that the site's streams have (`-copyts`), so that sound and pictures
    stay together, and its own start tells which part it is.
    """
    formats = info.get("requested_formats") or [info]
    temporary = fd.temp_name(filename)
    with Gateway(fd.ydl.urlopen, info.get("section_start")) as gateway:
        given = [_given(gateway, fmt) for fmt in formats]
        playlists = any(fmt["protocol"].startswith("m3u8") for fmt in given)
        limits = ["-loglevel", "level+info", "-nostats", "-protocol_whitelist", "http,tcp,crypto"]
        limits += ["-format_whitelist", "hls," * playlists + process.FORMATS]
        output = ["-copyts", "-map_metadata", "-1"]
        if len(given) == 1:  # of two, yt-dlp itself says which streams it wants
            output += ["-map", "0:V:0?", "-map", "0:a:0?"]
        output += ["-f", "mp4" if all(fmt.get("ext") in _MP4 for fmt in formats) else "matroska"]
        fd.params = {
            **fd.params,
            "quiet": False,
            "proxy": gateway.address,  # whatever else it might ask for ends there
            "external_downloader_args": {"ffmpeg_i": limits, "ffmpeg_o": output},
        }
        info = {**info, **(given[0] if len(given) == 1 else {"requested_formats": given})}
        report = process.Report()
        with _said(report), _unset("no_proxy"):
            code = fd._call_downloader(temporary, {**info, "http_headers": {}})
    if gateway.errors:
        raise gateway.errors[0]
    if code == -signal.SIGXFSZ or report.says("File too large"):
        raise TooLarge(f"ffmpeg wrote as much as the limit allows; {report.words()}")
    try:
        if code:
            raise FFmpegError(f"ffmpeg ended with code {code}: {report.words()}")
        first = _starts_of(temporary)
        if not first:
            raise NothingThere("there is no sound and there are no pictures in this section")
    except (FFmpegError, NothingThere) as error:
        if not gateway.seekable:  # the index is at the end of the file
            raise NoSections("the site gives no parts of files") from error
        raise
    zero = _starts(report) or [0.0]
    # Of two streams that come apart, one may start before 0 with what is there for the decoder
    # only; the other doesn't.
    fd.ydl.offset = first[0] - (zero[0] if len(zero) == 1 else max(0.0, min(zero)))
    fd.try_rename(temporary, filename)
    return True


_merge = FFmpegMergerPP.run


def merge(joiner: FFmpegMergerPP, info: dict) -> tuple[list[str], dict]:
    """In place of yt-dlp's `FFmpegMergerPP.run`: joins sound and pictures that came apart.

    yt-dlp would have both start at once; here what starts a little later stays later. Far apart,
    the two have clocks of their own, which say nothing.
    """
    starts = [(_starts_of(file) or [0.0])[0] for file in info["__files_to_merge"]]
    arguments = {}
    for number, start in enumerate(starts, 1):
        # What pretends to be a stream must not name other files.
        given = ["-protocol_whitelist", "file", "-format_whitelist", process.FORMATS]
        if 0 < start - min(starts) < _APART:
            given += ["-itsoffset", f"{start - min(starts):.6f}"]
        arguments[f"merger+ffmpeg_i{number}"] = given
    joiner._downloader.params["postprocessor_args"] = arguments
    return _merge(joiner, info)


def audio_codec(joiner: FFmpegMergerPP, path: str) -> str | None:
    """In place of yt-dlp's `get_audio_codec`, which lets a file name others."""
    try:
        stream = probe(path).first("audio")
    except MediaError:
        return None
    return stream.codec if stream else None


def _given(gateway: Gateway, fmt: dict) -> dict:
    """A format of yt-dlp's as ffmpeg gets it: an address of the gateway's, and nothing else."""
    url, headers, protocol = fmt["url"], fmt.get("http_headers"), fmt["protocol"]
    if urlsplit(url).scheme not in ("http", "https"):
        raise UnsupportedError(f"{url}, for which another program would be needed")
    if protocol == "http_dash_segments":
        base = fmt.get("fragment_base_url") or url
        text = gateway.rewrite(_playlist(fmt.get("fragments")), base, headers)
        protocol, address = "m3u8", gateway.admit(_Place(text=text), ".m3u8")
    elif protocol.startswith("m3u8"):
        address = gateway.admit(_Place(url, headers, playlists=True), ".m3u8")
    else:
        address = gateway.admit(_Place(url, headers), "")
    given = {"url": address, "protocol": protocol, "manifest_stream_number": 0}
    return {**fmt, **given, "http_headers": {}, "downloader_options": {}}


def _playlist(fragments: object) -> str:
    """DASH fragments, as yt-dlp lists them, as an HLS playlist."""
    if not isinstance(fragments, list) or not fragments:
        raise NoSections("the fragments of this stream are not known beforehand")
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-MEDIA-SEQUENCE:0"]
    longest = 0.0
    for number, fragment in enumerate(fragments):
        address, seconds = fragment.get("url") or fragment["path"], fragment.get("duration")
        if seconds:
            lines += [f"#EXTINF:{seconds:.6f},", address]
            longest = max(longest, seconds)
        elif number == 0:
            lines.append(f'#EXT-X-MAP:URI="{address}"')
        else:
            raise NoSections("the stream doesn't say how long its fragments are")
    lines.insert(1, f"#EXT-X-TARGETDURATION:{math.ceil(longest)}")
    return "\n".join(lines)


def _starts_of(path: str) -> list[float]:
    """The time at which a file starts, in seconds; nothing if there is nothing in it."""
    command = [process.binary(), *process.GLOBAL_OPTIONS, "-protocol_whitelist", "file"]
    command += ["-format_whitelist", process.FORMATS, "-i", "file:" + os.path.abspath(path)]
    report = process.Report()
    report.feed(subprocess.run(command, stderr=subprocess.PIPE, check=False).stderr)
    return _starts(report)


def _starts(report: process.Report) -> list[float]:
    """The times at which ffmpeg's inputs start, in seconds."""
    return [float(found[1]) for line in report.header if (found := _START.match(line))]


@contextlib.contextmanager
def _said(report: process.Report) -> Iterator[None]:
    """Give a report what the programs that yt-dlp runs write to stderr."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        while data := file.read(_BLOCK):
            report.feed(data)
        report.feed(b"")


@contextlib.contextmanager
def _unset(name: str) -> Iterator[None]:
    """Without a variable of the environment."""
    kept = os.environ.pop(name, None)
    try:
        yield
    finally:
        if kept is not None:
            os.environ[name] = kept
