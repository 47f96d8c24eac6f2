"""The downloading process: requests in on stdin, one JSON line each; answers out on stdout.

Not for people: `pipeline.download.Downloader` starts it.
"""

from __future__ import annotations

import errno
import functools
import ipaddress
import json
import os
import re
import resource
import socket
import sys
from pathlib import Path

sys.modules["curl_cffi"] = None  # it resolves names itself, past the guard

import yt_dlp
from yt_dlp.downloader.external import ExternalFD
from yt_dlp.downloader.rtmp import RtmpFD
from yt_dlp.networking.exceptions import HTTPError, NoSupportingHandlers, TransportError
from yt_dlp.utils import GeoRestrictedError, UnsupportedError, YoutubeDLError

from media.process import FORMATS, binary
from pipeline.download import MACHINE_ERRORS
from pipeline.worker import end_with_parent

FORMAT = "worst[height>=240]/worstvideo[height>=240]+worstaudio/best/bestvideo+bestaudio/bestaudio"
"""The smallest with sound and at least 240 lines; an address that names a file has one format."""

_NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in (
        # Forms of IPv6 that lead to IPv4 addresses, whichever.
        *("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16"),
        "fec0::/10",  # site-local
    )
]
_WORDS = [
    ("too_large", ("max-filesize", "file too large", "larger than")),
    ("blocked", ("not a bot", "rate-limit", "too many requests", "captcha", "try again later")),
    ("private", ("private", "login", "log in", "sign in", "members-only", "age-restricted")),
    ("gone", ("has been removed", "no longer available", "been terminated", "video unavailable")),
    ("blocked", ("not available in your country", "geo restrict", "georestricted")),
    ("unsupported", ("unsupported url", "no video formats", "not a valid url", "drm protected")),
]
"""What sites and yt-dlp say, where no exception of its own tells what it is."""


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
    inside = any(ip.version == net.version and ip in net for net in _NOT_PUBLIC)
    return ip.is_global and not ip.is_multicast and not inside


def _refuse(downloader, filename: str, info: dict) -> bool:
    """In place of yt-dlp's downloaders that are other programs: the guard doesn't reach those."""
    raise UnsupportedError(f"{info.get('protocol')} of {info.get('url')}: needs another program")


ExternalFD.real_download = RtmpFD.real_download = _refuse


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


def download(url: str, folder: str, max_bytes: int, guarded: bool = True) -> dict:
    """Download one video; returns its `path`, or `cause` and `message`, or `errno` of a trouble
    that is the machine's."""
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
        # ffmpeg joins two downloaded streams; what pretends to be one must not name other files.
        "postprocessor_args": {
            "merger+ffmpeg_i": ["-protocol_whitelist", "file", "-format_whitelist", FORMATS]
        },
        "fixup": "never",
        "cachedir": False,
        "updatetime": False,
        "quiet": True,
        "noprogress": True,
        "logger": log,
    }
    if guarded:
        options["proxy"] = ""  # a proxy would resolve the names instead of us
    try:
        if url.split(":", 1)[0].lower() not in ("http", "https"):
            raise ForbiddenAddress(f"only http and https are downloaded, not {url!r}")
        with yt_dlp.YoutubeDL(options) as downloader:
            info = downloader.extract_info(url, download=False)
            entries = list(info["entries"]) if "entries" in info else [info]
            if len(entries) != 1:
                raise UnsupportedError(f"{url}, a playlist; list its videos one by one")
            if entries[0].get("is_live"):
                raise UnsupportedError(f"{url}, a live stream, which has no end")
            done = downloader.process_ie_result(info, download=True)
        done = done["entries"][0] if "entries" in done else done
        files = [item.get("filepath") for item in done.get("requested_downloads") or []]
        if not files or not files[0] or not os.path.isfile(files[0]):
            raise YoutubeDLError("; ".join(log.errors) or "yt-dlp wrote no file and said nothing")
        return {"cause": "", "message": "", "path": files[0]}
    except Exception as error:  # noqa: BLE001 - whatever a site does is told, not raised
        message = "; ".join(log.errors) or f"{type(error).__name__}: {error}"
        if number := _machine_error(error, message):
            return {"errno": number, "message": message}
        return {"cause": cause_of(error, message), "message": _plain(message)}


def _machine_error(error: BaseException, message: str) -> int:
    """The number of an error of this machine's; 0 if it is the download's."""
    numbers = [getattr(link, "errno", None) for link in _chain(error)]
    numbers += [int(found) for found in re.findall(r"\[Errno (\d+)\]", message)]
    return next((number for number in numbers if number in MACHINE_ERRORS), 0)


def cause_of(error: BaseException, message: str) -> str:
    """Which of `schemas.ledger.CAUSES` an error of yt-dlp's is."""
    chain = _chain(error)
    for link in chain:
        if isinstance(link, ForbiddenAddress):
            return "forbidden"
        if isinstance(link, _TooLarge) or getattr(link, "errno", None) == errno.EFBIG:
            return "too_large"
        if isinstance(link, GeoRestrictedError):
            return "blocked"
        if isinstance(link, (UnsupportedError, NoSupportingHandlers)):
            return "unsupported"
        if isinstance(link, socket.gaierror):
            return "not_found" if link.errno == socket.EAI_NONAME else "network"
        if isinstance(link, HTTPError):
            return _cause_of_status(link.status)
    # An address that is not public may also be told in words alone.
    words = re.sub(r"\[[\w:+.-]+\] \S+: ", "", message.lower())  # "[site] id: " is the video's own
    if "which is not a public address" in words:
        return "forbidden"
    if any(isinstance(link, TransportError) for link in chain):
        return "network"
    for cause, signs in _WORDS:
        if any(sign in words for sign in signs):
            return cause
    return "network" if any(isinstance(link, OSError) for link in chain) else "download_error"


def _cause_of_status(status: int) -> str:
    """The cause that an HTTP status is."""
    known = {401: "private", 403: "blocked", 404: "not_found", 410: "gone", 429: "blocked"}
    return known.get(status, "gone" if status == 451 else "network")


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and those that led to it, as yt-dlp and Python nest them."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        link = waiting.pop(0)
        if isinstance(link, BaseException) and not any(link is known for known in found):
            found.append(link)
            info = getattr(link, "exc_info", None)
            # Not __context__: what a site's code caught and went on from is not the cause.
            waiting += [getattr(link, "cause", None), info[1] if info else None, link.__cause__]
    return found


def _plain(message: str) -> str:
    """Without terminal colours and yt-dlp's call to report its bugs."""
    plain = message.replace("\x1b[0;31m", "").replace("\x1b[0m", "")
    return plain.split("; please report this issue on")[0].strip()[:2000]


def main() -> None:
    """Answer requests until stdin ends."""
    end_with_parent(group=True)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else writes to stdout must not pass for an answer
    guarded = False
    for line in sys.stdin:
        request = json.loads(line)
        if not guarded and not request["allow_local_network"]:
            guard_network()
            guarded = True
        limit = request["max_bytes"]
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        answer = download(request["url"], request["folder"], limit, guarded)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
