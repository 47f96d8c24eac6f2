"""Which cause a failed download has, read off the errors of yt-dlp and off the sites' words."""

from __future__ import annotations

import datetime
import email.utils
import errno
import re
import socket
from collections.abc import Iterable, Sequence

from yt_dlp.networking.exceptions import (
    CertificateVerifyError,
    HTTPError,
    RequestError,
    TransportError,
)
from yt_dlp.utils import (
    ContentTooShortError,
    GeoRestrictedError,
    UnavailableVideoError,
    UnsupportedError,
)

from media.guard import ForbiddenAddress, name_service_works
from pipeline.downloads.download import MACHINE_ERRORS

LONGEST_RETRY_AFTER = 86_400.0
"""Seconds; a site that asks for more is taken to ask for a day."""

_BOT_OR_RATE = [
    ("bot_check", ("not a bot", "captcha", "anti-bot challenge", "unusual traffic")),
    ("rate_limited", ("rate-limit", "rate limit", "too many requests", "try again later")),
]
_WORDS = [
    ("too_large", ("max-filesize", "file too large", "larger than")),
    *_BOT_OR_RATE,
    ("region", ("your country", "your region", "your location", "geo restrict", "geo-restrict")),
    ("private", ("private", "login", "log in", "sign in", "members-only", "age-restricted")),
    ("gone", ("has been removed", "no longer available", "been terminated", "video unavailable")),
    ("unsupported", ("unsupported url", "no video formats", "not a valid url", "drm protected")),
    ("network", ("more expected", "bytes read", "timed out", "connection reset")),
]
"""What sites and yt-dlp say, where no exception of its own tells what it is."""

_STATUSES = {
    401: "private",
    402: "private",
    403: "refused",
    404: "not_found",
    408: "network",
    410: "gone",
    429: "rate_limited",
    451: "region",
}


class TooLarge(Exception):
    """More bytes than the limit."""


def cause_of(error: BaseException, message: str) -> str:
    """Which of `schemas.ledger.CAUSES` an error of yt-dlp's is.

    A redirect that leads in a circle is a `download_error`: to wait does not help, but sites also
    do that to visitors whose cookies they miss.
    """
    chain = _chain(error)
    for link in chain:
        if isinstance(link, ForbiddenAddress):
            return "forbidden"
        if isinstance(link, (TooLarge, MemoryError)) or getattr(link, "errno", 0) == errno.EFBIG:
            return "too_large"
        if isinstance(link, GeoRestrictedError):
            return "region"
        if isinstance(link, UnsupportedError):
            return "unsupported"
        if isinstance(link, socket.gaierror):
            unknown = link.errno in (socket.EAI_NONAME, socket.EAI_NODATA)
            return "no_such_host" if unknown and name_service_works() else "network"
        if isinstance(link, HTTPError):
            return "download_error" if link.redirect_loop else _cause_of_status(link.status)
        if isinstance(link, CertificateVerifyError):
            return "download_error"
    # An address that is not public may also be told in words alone.
    words = re.sub(r"\[[\w:+.-]+\] \S+: ", "", message.lower())  # "[site] id: " is the video's own
    if "which is not a public address" in words:
        return "forbidden"
    if any(isinstance(link, (TransportError, ContentTooShortError)) for link in chain):
        return "network"
    if any(isinstance(link, RequestError) for link in chain) or "'idna' codec" in words:
        return "unsupported"  # no address that can be asked for
    if cause := _first(_BOT_OR_RATE, words):
        return cause
    if status := re.search(r"http error (\d{3})\b", words):
        return _cause_of_status(int(status[1]))
    if cause := _first(_WORDS, words):
        return cause
    return "network" if any(isinstance(link, OSError) for link in chain) else "download_error"


def _first(table: Sequence[tuple[str, tuple[str, ...]]], words: str) -> str:
    return next((cause for cause, signs in table if any(sign in words for sign in signs)), "")


def _cause_of_status(status: int) -> str:
    """The cause that an HTTP status is."""
    return _STATUSES.get(status, "server_error" if status >= 500 else "download_error")


def retry_after(error: BaseException) -> float | None:
    """Seconds that a site asked to wait with its 429 or 503; None if it did not say."""
    for link in _chain(error):
        if isinstance(link, HTTPError) and link.status in (429, 503):
            return read_retry_after(link.response.get_header("Retry-After"))
    return None


def read_retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date; None if it holds neither."""
    header = (header or "").strip()
    if header.isascii() and header.isdigit():
        seconds = float(header)
    else:
        try:
            then = email.utils.parsedate_to_datetime(header)
        except ValueError:
            return None
        if then.tzinfo is None:  # "-0000"
            then = then.replace(tzinfo=datetime.UTC)
        seconds = (then - datetime.datetime.now(datetime.UTC)).total_seconds()
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER)


def machine_error(errors: Iterable[BaseException | None]) -> int:
    """The number of an error of this machine's; 0 if there is none.

    Words don't count: a site may write into them that the disk is full.
    """
    numbers = (getattr(link, "errno", None) for error in errors for link in _chain(error))
    return next((number for number in numbers if number in MACHINE_ERRORS), 0)


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and those that led to it, as yt-dlp, requests and Python nest them."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        link = waiting.pop(0)
        if isinstance(link, BaseException) and not any(link is known for known in found):
            found.append(link)
            info = getattr(link, "exc_info", None)
            # Not any __context__: what a site's code caught and went on from is not the cause.
            if isinstance(link, UnavailableVideoError):
                waiting.append(link.__context__)
            waiting += [getattr(link, "cause", None), info[1] if info else None, link.__cause__]
            waiting += [getattr(link, "reason", None), *link.args[:1]]
    return found
