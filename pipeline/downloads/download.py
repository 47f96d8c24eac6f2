"""Downloads by yt-dlp, in a process of its own that can be killed.

A worker thread keeps one such process (`pipeline.downloads.downloading`) and hands it one address
at a time. Whatever yt-dlp does there (hang, crash, fill memory) ends at the time limit with that
process, and only that download is lost.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import http.cookiejar
import json
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from media import Limits
from pipeline.child import Child

MACHINE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM, errno.EMFILE}
"""Troubles of the machine, which would fail every video: they end the run, to be gone on with."""

LONGEST_URL = 8192
"""Characters; a request of such a length is always taken off a pipe's other end in one piece."""

_GRACE_SECONDS = 5.0


class DownloadError(Exception):
    """A download failed.

    Attributes:
        cause: one of `schemas.ledger.CAUSES`.
        message: yt-dlp's own words.
        retry_after: seconds for which the site asks to be left alone, at most a day; None if it
            does not say.
    """

    def __init__(self, cause: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(cause, message, retry_after)
        self.cause, self.message, self.retry_after = cause, message, retry_after

    def __str__(self) -> str:
        return f"{self.cause}: {self.message}"


class OptionsError(ValueError):
    """A file of yt-dlp's options that can't be used; says what to do."""


_ASK = "how the pipeline asks is its own matter: --tries, --per-host, --host-rate"
_RUNS = "it would run a program"
_WRITES = "it would write where nobody looks"
_NOT_ADMITTED = {
    "proxy": "a proxy would resolve names past the guard of the local network; with "
    "--allow-local-network the environment's http_proxy and https_proxy count",
    "impersonate": "what impersonates browsers resolves names past the guard",
    "nocheckcertificate": "anyone on the way could put another video in the place of this one",
    "enable_file_urls": "an address could name a file of this machine",
    "cookiesfrombrowser": _RUNS + "; write the cookies to a file and name it with cookiefile",
    "remote_components": "it would run code that is fetched on the way",
    **dict.fromkeys(("retries", "fragment_retries", "extractor_retries"), _ASK),
    **dict.fromkeys(("concurrent_fragment_downloads", "retry_sleep_functions"), _ASK),
    **dict.fromkeys(("postprocessors", "postprocessor_args", "exec_cmd", "netrc_cmd"), _RUNS),
    **dict.fromkeys(("external_downloader", "external_downloader_args"), _RUNS),
    **dict.fromkeys(("ffmpeg_location", "js_runtimes"), _RUNS + "; those on the PATH are used"),
    **dict.fromkeys(("outtmpl", "paths", "cachedir", "download_archive", "writeinfojson"), _WRITES),
    **dict.fromkeys(("writesubtitles", "writethumbnail", "merge_output_format"), _WRITES),
    **dict.fromkeys(("noplaylist", "playlist_items"), "a row is one video"),
    "download_ranges": "the list tells the sections: start, end; or --first-seconds",
    "max_filesize": "it is the pipeline's own limit",
}
"""Options of yt-dlp's that would break a promise, and why."""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_headers(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_arguments(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(site, dict) and all(map(_is_texts, site.values())) for site in value.values()
    )


_KINDS = {
    "a text": _is_text,
    "a number": _is_number,
    "true or false": lambda value: isinstance(value, bool),
    "a list of texts": _is_texts,
    'an object of texts, as {"Referer": "https://..."}': _is_headers,
    'as {"youtube": {"player_client": ["web"]}}': _is_arguments,
}
_TEXT, _NUMBER, _FLAG, _TEXTS, _HEADERS, _ARGUMENTS = _KINDS
OPTIONS = {
    # who asks
    **dict.fromkeys(("cookiefile", "username", "password", "videopassword"), _TEXT),
    **dict.fromkeys(("ap_mso", "ap_username", "ap_password"), _TEXT),
    **dict.fromkeys(("client_certificate", "client_certificate_key"), _TEXT),
    "client_certificate_password": _TEXT,
    # from where, and with which words
    **dict.fromkeys(("source_address", "geo_bypass_country", "geo_bypass_ip_block"), _TEXT),
    **dict.fromkeys(("geo_bypass", "legacyserverconnect"), _FLAG),
    "http_headers": _HEADERS,
    "extractor_args": _ARGUMENTS,
    "allowed_extractors": _TEXTS,
    "age_limit": _NUMBER,
    # how fast
    **dict.fromkeys(("ratelimit", "throttledratelimit", "http_chunk_size"), _NUMBER),
    **dict.fromkeys(("sleep_interval", "max_sleep_interval"), _NUMBER),
    **dict.fromkeys(("sleep_interval_requests", "socket_timeout"), _NUMBER),
    # which form of the video
    "format": _TEXT,
    "format_sort": _TEXTS,
}
"""Options of yt-dlp's that a user may give, each with what it must be."""

_FILES = ("cookiefile", "client_certificate", "client_certificate_key")


def read_options(path: str) -> dict:
    """Read a JSON file of yt-dlp's options, by the names that its Python interface has.

    Files that it names are taken as relative to it, and come out with their whole paths. It may
    hold passwords: what is returned is not for a log.

    Raises OptionsError: it can't be read, or holds what is not in `OPTIONS`.
    """
    file = Path(path)
    try:
        text = file.read_text("utf-8")
        options = json.loads(text)
    except (OSError, ValueError) as error:
        raise OptionsError(f"{path} can't be read as JSON: {error}") from error
    if not isinstance(options, dict) or len(text) > 32_768:
        raise OptionsError(
            f'{path} is no JSON object of at most 32 KB, as {{"ratelimit": 1000000}} is'
        )
    for name, value in options.items():
        if name not in OPTIONS:
            raise OptionsError(f"{path}: {_why_not(name)}")
        if not _KINDS[OPTIONS[name]](value):
            raise OptionsError(f"{path}: {name} must be {OPTIONS[name]}")
    if options.get("format", "").strip() == "-":
        raise OptionsError(f"{path}: with the format '-' yt-dlp would ask, and nobody answers")
    for name in _FILES:
        if name in options:
            options[name] = str((file.parent / options[name]).absolute())
            if not os.access(options[name], os.R_OK):
                raise OptionsError(f"{path}: {name}: {options[name]} can't be read")
    if "cookiefile" in options:
        from yt_dlp.cookies import YoutubeDLCookieJar

        try:
            YoutubeDLCookieJar(options["cookiefile"]).load()
        except (http.cookiejar.LoadError, ValueError) as error:
            raise OptionsError(f"{path}: cookiefile: {error}") from error
    return options


def _why_not(name: str) -> str:
    if name in _NOT_ADMITTED:
        return f"{name} is not admitted: {_NOT_ADMITTED[name]}"
    close = difflib.get_close_matches(name.strip("-").replace("-", "_"), OPTIONS, 1, 0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    return (
        f"no option {name!r}; {hint}Names are those of yt-dlp's Python interface, "
        f"and these are admitted: {', '.join(OPTIONS)}"
    )


@dataclass(frozen=True)
class Fetched:
    """A file that was downloaded.

    Attributes:
        path: where it lies.
        offset: the time of the video, in seconds, at which the file's time 0 lies: what is shown
            and heard at `t` in the video is at `t - offset` in the file.
        bytes: its size.
    """

    path: str
    offset: float
    bytes: int


class Downloader:
    """Downloads one video after the other.

    Args:
        limits: no file larger than its `max_bytes` is written.
        seconds: wall time that one download may take, with all that belongs to it.
        allow_local_network: whether addresses that aren't public may be reached.
        options: of yt-dlp's, as `read_options` admits them.
    """

    def __init__(
        self,
        limits: Limits,
        seconds: float = 1800.0,
        allow_local_network: bool = False,
        options: dict | None = None,
    ) -> None:
        self.limits = limits
        self.seconds = seconds
        self.allow_local_network = allow_local_network
        self.options = options or {}
        self._process: Child | None = None

    def fetch(
        self, url: str, folder: str, start: float | None = None, end: float | None = None
    ) -> Fetched:
        """Download a video, or the section of it from `start` to `end` seconds, into a folder.

        Of a section comes a little more on either side, from a key frame on. A site that gives no
        sections gives the whole video.

        Raises:
            DownloadError: with its cause.
            OSError: the disk is full or can't be written, which is no fault of the video's.
        """
        if len(url) > LONGEST_URL:
            raise DownloadError("unsupported", f"an address of {len(url)} characters")
        deadline = time.monotonic() + self.seconds
        request = {"url": url, "folder": os.path.abspath(folder), "start": start, "end": end}
        process = self._started()
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answer = self._line(process, deadline)
        except BrokenPipeError:
            answer = b""
        if not answer.endswith(b"\n"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS)
            code = process.returncode
            self.close()
            # From outside, as memory is taken back; its own limits end it in other ways.
            cause = "killed" if code in (-signal.SIGKILL, -signal.SIGTERM) else "download_error"
            raise DownloadError(cause, f"the downloading process ended with code {code}")
        reply = json.loads(answer)
        if reply.get("errno"):
            raise OSError(reply["errno"], reply["message"])
        if reply["cause"]:
            raise DownloadError(reply["cause"], reply["message"], reply["retry_after"])
        return Fetched(reply["path"], reply["offset"], os.path.getsize(reply["path"]))

    def _line(self, process: Child, deadline: float) -> bytes:
        """What the process answers, up to the end of a line or of the process."""
        line, ready = b"", select.poll()
        ready.register(process.stdout, select.POLLIN)
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not ready.poll(1000 * left):
                self.close()
                raise DownloadError("slow", f"not downloaded within {self.seconds:g} s")
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                break
            line += piece
        return line

    def _started(self) -> Child:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._process = Child("pipeline.downloads.downloading")
            settings = {
                "max_bytes": self.limits.max_bytes,
                "guarded": not self.allow_local_network,
                "options": self.options,  # here, where no other user sees a password
            }
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(settings).encode() + b"\n")
        return self._process

    def close(self) -> None:
        """End the process and what it started; the next `fetch` starts another."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel
            process.wait(_GRACE_SECONDS)
        with contextlib.suppress(OSError):  # what was still to be written to it
            process.stdin.close()
        process.stdout.close()
