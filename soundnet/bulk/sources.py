"""Which sounds are meant by what stands on a command line."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import media
from soundnet.bulk import addresses

SOUND = (
    *("wav", "w64", "mp3", "m4a", "m4b", "aac", "flac", "ogg", "oga", "opus", "spx", "aif", "aiff"),
    *("aifc", "au", "snd", "caf", "amr", "awb", "ac3", "eac3", "dts", "ape", "mpc", "tak", "tta"),
    *("wv", "wma", "mka", "voc"),
)
VIDEO = (
    *("mp4", "m4v", "mov", "mkv", "webm", "avi", "flv", "ts", "mts", "m2ts", "mpg", "mpeg", "vob"),
    *("ogv", "3gp", "3g2", "wmv", "asf", "mxf"),
)
SUFFIXES = frozenset(SOUND + VIDEO)
"""Endings of the files that are taken from a folder. A file that is named is taken whatever it is
called."""

PLAYLISTS = (".m3u", ".m3u8")
STDIN = "-"


@dataclass(frozen=True)
class Source:
    """One sound.

    Attributes:
        name: as it was named or found: a path, an address, or "-" for standard input.
        place: what its file is to be called within a folder of outputs, less the ending; relative,
            with `/` between folders.
    """

    name: str
    place: str

    @property
    def is_address(self) -> bool:
        """Whether it lies on the web."""
        return is_address(self.name)


@dataclass(frozen=True)
class NoSource:
    """Something that was named and is neither a sound nor a list of sounds, and why."""

    name: str
    message: str


class NoSourceError(Exception):
    """What was named is neither a sound nor a list of sounds; the message says why."""


def opened(
    sound: Source | NoSource, allow_local_network: bool = False
) -> contextlib.AbstractContextManager[str]:
    """The file of a sound, for as long as the `with` lasts.

    Raises:
        NoSourceError: it is none.
        addresses.AddressError: it can't be had from the web; see `addresses.downloaded`.
    """
    if isinstance(sound, NoSource):
        raise NoSourceError(sound.message)
    if sound.is_address:
        return addresses.downloaded(sound.name, allow_local_network)
    if sound.name == STDIN:
        return standard_input()
    return contextlib.nullcontext(sound.name)


@contextlib.contextmanager
def standard_input() -> Iterator[str]:
    """Standard input as a file that goes when the `with` ends: a container can't always be read
    from a pipe."""
    with tempfile.NamedTemporaryFile(prefix="soundnet-") as file:
        while data := sys.stdin.buffer.read(1 << 20):
            file.write(data)
            if file.tell() > media.Limits().max_bytes:
                break  # `media` says that it is too large
        file.flush()
        yield file.name


def is_address(name: str) -> bool:
    """Whether a name is an http or https address."""
    return name.startswith(("http://", "https://"))


def find(names: Iterable[str], lists: Iterable[Iterable[str]] = ()) -> Iterator[Source | NoSource]:
    """The sounds that are meant, in order, each once; and what is none.

    Args:
        names: files; folders, all files of which are taken that are called as sounds are
            (`SUFFIXES`), sorted, hidden ones left out; patterns with `*`, `?`, `[...]` and `**`;
            `.m3u` playlists, whose paths are relative to them; http(s) addresses; "-".
        lists: lines of lists, each a file, a folder or an address, paths relative to here. Empty
            lines and those that begin with `#` don't count.
    """
    seen = set()
    for found in _all(names, lists):
        if isinstance(found, Source):
            if found.name in seen:
                continue
            seen.add(found.name)
        yield found


def _all(names: Iterable[str], lists: Iterable[Iterable[str]]) -> Iterator[Source | NoSource]:
    for name in names:
        try:
            yield from _named(name)
        except NoSourceError as error:
            yield NoSource(name, str(error))
    for lines in lists:
        for entry in _entries(lines):
            yield from _listed(entry)


def _named(name: str) -> Iterator[Source]:
    path = Path(name)
    if name == STDIN:
        yield Source(STDIN, "stdin")
    elif is_address(name):
        yield Source(name, address_place(name))
    elif path.is_dir():
        yield from _folder(path)
    elif path.suffix.lower() in PLAYLISTS and path.is_file():
        for entry in _entries(_playlist(path)):
            here = entry if is_address(entry) else os.path.join(path.parent, entry)
            yield from _listed(here, entry)
    elif not os.path.lexists(name) and glob.has_magic(name):
        yield from _pattern(name)
    else:
        yield Source(name, path.name)


def _listed(name: str, written: str | None = None) -> Iterator[Source]:
    """What a line of a list names; `written`: as it stands there."""
    if is_address(name):
        yield Source(name, address_place(name))
    elif os.path.isdir(name):
        yield from _folder(Path(name))
    else:
        place = PurePosixPath(os.path.normpath(written or name))
        inside = not place.is_absolute() and ".." not in place.parts
        yield Source(name, str(place) if inside else place.name)


def _folder(folder: Path) -> Iterator[Source]:
    for path in _walk(folder):
        yield Source(str(path), path.relative_to(folder).as_posix())


def _walk(folder: Path) -> Iterator[Path]:
    """The sounds below a folder, sorted; links to folders aren't followed."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name)
        elif entry.name.rpartition(".")[2].lower() in SUFFIXES and entry.is_file():
            yield folder / entry.name


def _pattern(pattern: str) -> Iterator[Source]:
    """The files that a pattern fits, sorted; their places are relative to its part without one."""
    fixed = re.split(r"[*?[]", pattern, maxsplit=1)[0].rpartition("/")[0]
    paths = [path for path in sorted(glob.glob(pattern, recursive=True)) if os.path.isfile(path)]
    if not paths:
        raise NoSourceError("no file's name fits this pattern")
    for path in paths:
        yield Source(path, os.path.relpath(path, fixed or ("/" if path[0] == "/" else ".")))


def _entries(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        entry = line.strip("\r\n")
        if entry.strip() and not entry.startswith("#"):
            yield entry


def _playlist(path: Path) -> list[str]:
    """The lines of an `.m3u` or `.m3u8` file that lists files."""
    try:
        lines = path.read_text("utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise NoSourceError(error.strerror) from error
    if any(line.startswith("#EXT-X-") for line in lines):
        raise NoSourceError(
            "this is the playlist of a stream (HLS), whose entries are pieces of one sound, not a "
            "list of sounds; get the sound with `yt-dlp` or `ffmpeg -i ADDRESS -vn sound.mka`"
        )
    return lines


def address_place(url: str) -> str:
    """What an address' file is to be called: host and path, and a hash where that is not all."""
    try:
        parts = urlsplit(url)
        names, query = [parts.hostname or "address", *parts.path.split("/")], parts.query
    except ValueError:  # brackets that hold no address
        names, query = ["address"], ""
    names = [name for name in names if name not in ("", ".", "..")]
    place = "/".join(re.sub(r"[^\w.@%+~-]", "_", name)[:150] for name in names)
    if query or len(names) < 2 or any(len(name) > 150 for name in names):
        place += "-" + hashlib.sha256(url.encode(errors="surrogateescape")).hexdigest()[:12]
    return place
