"""The downloading process: requests in on stdin, one JSON line each; answers out on stdout.

Not for people: `pipeline.download.Downloader` starts it.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import os
import resource
import socket
import sys
from pathlib import Path

import yt_dlp
from yt_dlp.networking.exceptions import HTTPError, NoSupportingHandlers, TransportError
from yt_dlp.utils import GeoRestrictedError, UnsupportedError, YoutubeDLError

from media.process import binary
from pipeline.worker import end_with_parent

FORMAT = "worst[height>=240]/worstvideo[height>=240]+worstaudio/best/bestvideo+bestaudio/bestaudio"
"""The smallest with sound and at least 240 lines; an address that names a file has one format."""

_WORDS = [
    ("too_large", ("max-filesize", "file too large", "larger than")),
    ("blocked", ("not a bot", "rate-limit", "too many requests", "captcha", "try again later")),
    ("private", ("private", "login", "log in", "sign in", "members-only", "age-restricted")),
    ("gone", ("has been removed", "no longer available", "been terminated", "video unavailable")),
    ("blocked", ("not available in your country", "geo restrict", "georestricted")),
    ("not_found", ("name or service not known", "nodename nor servname", "no address associated")),
    (
        "unsupported",
        ("unsupported url", "no video formats", "is not a valid url", "unable to handle"),
    ),
    ("timeout", ("timed out",)),
]


class ForbiddenAddress(OSError):
    """A host whose address is not public, or a scheme that is not allowed."""


class _TooLarge(Exception):
    """The file has grown over its limit."""


def guard_network() -> None:
    """From now on this process reaches public addresses only.

    Every connection of Python's resolves its host (a numeric one too) by `socket.getaddrinfo`, and
    connects to what that returns; so neither a redirect nor a name that resolves to another
    address the second time gets past this.
    """
    resolve = socket.getaddrinfo

    @functools.wraps(resolve)
    def public_only(host, *args, **kwargs):
        found = resolve(host, *args, **kwargs)
        for *_, address in found:
            if not is_public(address[0]):
                raise ForbiddenAddress(
                    f"{host!r} is at {address[0]}, which is not a public address "
                    "(--allow-local-network allows it)"
                )
        return found

    socket.getaddrinfo = public_only


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet."""
    ip = ipaddress.ip_address(address.split("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip.is_global and not ip.is_multicast


class _Log:
    """Keeps yt-dlp's last words."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def debug(self, message: str) -> None:
        # yt-dlp reports a file over its size limit here, and as no error.
        if "max-filesize" in message:
            self.errors.append(message)

    info = warning = debug

    def error(self, message: str) -> None:
        self.errors.append(message)


def download(url: str, folder: str, max_bytes: int) -> dict[str, str]:
    """Download one video; returns its `path`, or `cause` and `message`."""
    log = _Log()

    def check_size(progress: dict) -> None:
        if (progress.get("downloaded_bytes") or 0) > max_bytes:
            raise _TooLarge(f"more than {max_bytes} bytes")

    options = {
        "format": FORMAT,
        "outtmpl": {"default": str(Path(folder) / "media.%(ext)s")},
        "noplaylist": True,
        "playlist_items": "1:2",
        "max_filesize": max_bytes,
        "progress_hooks": [check_size],
        "socket_timeout": 20,
        "retries": 3,
        "fragment_retries": 3,
        "extractor_retries": 2,
        "skip_unavailable_fragments": False,
        "external_downloader": {"default": "native"},
        "hls_prefer_native": True,
        "ffmpeg_location": binary(),
        "fixup": "never",
        "cachedir": False,
        "updatetime": False,
        "quiet": True,
        "noprogress": True,
        "logger": log,
    }
    try:
        if url.split(":", 1)[0].lower() not in ("http", "https"):
            raise ForbiddenAddress(f"only http and https are downloaded, not {url!r}")
        with yt_dlp.YoutubeDL(options) as downloader:
            info = downloader.extract_info(url, download=False)
            entries = list(info["entries"]) if "entries" in info else [info]
            if len(entries) != 1:
                found = f"a playlist of {len(entries)} or more videos; list them one by one"
                return {"cause": "unsupported", "message": found, "path": ""}
            downloader.process_ie_result(info, download=True)
        files = sorted(Path(folder).glob("media.*"), key=lambda path: path.stat().st_size)
        files = [path for path in files if path.suffix not in (".part", ".ytdl")]
        if not files:
            raise YoutubeDLError("; ".join(log.errors) or "yt-dlp wrote no file and said nothing")
        return {"cause": "", "message": "", "path": str(files[-1])}
    except Exception as error:  # noqa: BLE001 - whatever a site does is told, not raised
        message = "; ".join(log.errors) or f"{type(error).__name__}: {error}"
        return {"cause": cause_of(error, message), "message": _plain(message), "path": ""}


def cause_of(error: BaseException, message: str) -> str:
    """Which of `schemas.ledger.CAUSES` an error of yt-dlp's is."""
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, ForbiddenAddress):
            return "forbidden"
        if isinstance(link, _TooLarge) or getattr(link, "errno", None) == 27:  # EFBIG
            return "too_large"
        if isinstance(link, GeoRestrictedError):
            return "blocked"
        if isinstance(link, (UnsupportedError, NoSupportingHandlers)):
            return "unsupported"
        if isinstance(link, HTTPError):
            if link.status == 404:
                return "not_found"
            if link.status in (410, 451):
                return "gone"
            if link.status == 401:
                return "private"
            if link.status in (403, 429):
                return "blocked"
            return "network"
    words = message.lower()
    if "not a public address" in words:
        return "forbidden"
    for cause, signs in _WORDS:
        if any(sign in words for sign in signs):
            return cause
    if any(isinstance(link, (TransportError, OSError)) for link in chain):
        return "network"
    return "download_error"


def _chain(error: BaseException | None, depth: int = 0):
    """An error and all that led to it, as yt-dlp nests them."""
    if error is None or depth > 10:
        return
    yield error
    info = getattr(error, "exc_info", None)
    for inner in (
        getattr(error, "cause", None),
        info[1] if info else None,
        error.__cause__,
        error.__context__,
    ):
        if isinstance(inner, BaseException) and inner is not error:
            yield from _chain(inner, depth + 1)


def _plain(message: str) -> str:
    """Without terminal colours and yt-dlp's call to report its bugs."""
    plain = message.replace("\x1b[0;31m", "").replace("\x1b[0m", "")
    return plain.split("; please report this issue on")[0].strip()[:2000]


def main() -> None:
    """Answer requests until stdin ends."""
    end_with_parent()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else writes to stdout must not pass for an answer
    guarded = False
    for line in sys.stdin:
        request = json.loads(line)
        if not guarded and not request["allow_local_network"]:
            guard_network()
            guarded = True
        limit = request["max_bytes"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        answer = download(request["url"], request["folder"], limit)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
