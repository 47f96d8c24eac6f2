"""A sound from the web, as a file: bounded, and from the open internet only."""

from __future__ import annotations

import contextlib
import http.client
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from media import guard

MAX_BYTES = 2 * 2**30
SECONDS = 3600.0
"""Within which a download must end."""

IDLE_SECONDS = 60.0
"""For which nothing may come."""

CHUNK = 1 << 20


class AddressError(Exception):
    """What an address names can't be had; the message says why."""


@contextlib.contextmanager
def downloaded(url: str, allow_local: bool = False) -> Iterator[str]:
    """What an http(s) address names, as a file that goes when the `with` ends.

    Args:
        allow_local: addresses of the local network too, and the environment's proxies (which would
            resolve names past the guard).

    Raises:
        AddressError: it doesn't answer, gives an error, more than `MAX_BYTES`, less than it said,
            or leads to the local network.
    """
    with tempfile.TemporaryDirectory(prefix="soundnet-") as folder:
        path = Path(folder, "sound")
        _download(url, path, allow_local)
        yield str(path)


def _download(url: str, path: Path, allow_local: bool) -> None:
    deadline = time.monotonic() + SECONDS
    try:
        guard.check_scheme(url)
        request = urllib.request.Request(url, headers={"User-Agent": "soundnet"})
        with _opener(allow_local).open(request, timeout=IDLE_SECONDS) as answer:
            size, expected = 0, answer.headers.get("Content-Length")
            with path.open("wb") as file:
                while data := answer.read(CHUNK):
                    size += len(data)
                    if size > MAX_BYTES:
                        raise AddressError(f"more than {MAX_BYTES:,} bytes")
                    if time.monotonic() > deadline:
                        raise AddressError(f"not done within {SECONDS:g} s")
                    file.write(data)
            if expected and expected.isdecimal() and size < int(expected):
                raise AddressError(f"cut off after {size:,} of {expected} bytes")
    except urllib.error.HTTPError as error:
        raise AddressError(f"the server answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise AddressError(f"can't be reached: {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AddressError(str(error) or type(error).__name__) from error


def _opener(allow_local: bool) -> urllib.request.OpenerDirector:
    """What opens http and https addresses, follows redirects to such, and nothing else."""
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ]
    if allow_local:
        handlers += [urllib.request.ProxyHandler(), urllib.request.HTTPHandler()]
        handlers += [urllib.request.HTTPSHandler()]
    else:
        handlers += [_PublicHTTP(), _PublicHTTPS()]
    opener = urllib.request.OpenerDirector()
    for handler in handlers:
        opener.add_handler(handler)
    return opener


class _PublicConnection(http.client.HTTPConnection):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._create_connection = guard.connect_public


class _PublicSecureConnection(http.client.HTTPSConnection):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._create_connection = guard.connect_public


class _PublicHTTP(urllib.request.HTTPHandler):
    def http_open(self, request):
        return self.do_open(_PublicConnection, request)


class _PublicHTTPS(urllib.request.HTTPSHandler):
    def https_open(self, request):
        return self.do_open(_PublicSecureConnection, request)
