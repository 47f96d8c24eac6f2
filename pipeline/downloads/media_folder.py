"""Downloads that are kept: a folder in which every worker looks before it downloads.

An entry is two files, `ab/cd/<key>.<suffix>` and `ab/cd/<key>.json`; the key is the hash of what
was asked for. The second is written last and says what the first must be, so half an entry is none;
and what no longer is what it was is downloaded again. Whoever downloads holds a lock that the
kernel takes away with the process (`flock`): on a local disk, and on a network's file system that
passes locks on, as NFS does.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.downloads import formats
from pipeline.downloads.download import Downloader, DownloadError, Fetched

_LOOK_SECONDS = 0.2


class MediaFolder:
    """Downloads by way of a folder.

    Args:
        folder: where they are kept; made if it isn't there.
        downloader: what downloads. Its `seconds` bound the wait for another worker too.
    """

    def __init__(self, folder: str, downloader: Downloader) -> None:
        self.folder = Path(folder).absolute()
        self.downloader = downloader
        self.folder.mkdir(parents=True, exist_ok=True)

    def fetch(
        self, url: str, folder: str, start: float | None = None, end: float | None = None
    ) -> Fetched:
        """As `Downloader.fetch`; the file lies in the kept media and belongs there.

        Raises what that does; `slow` where another worker downloads the same for too long.
        """
        del folder  # what is kept lies elsewhere
        rule = [self.downloader.options.get(name) for name in ("format", "format_sort")]
        asked = {
            "url": url,
            "start": start,
            "end": end,
            "format": rule if any(rule) else formats.RULE,
        }
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        entry = self.folder / key[:2] / key[2:4] / f"{key}.json"
        if kept := _kept(entry):
            return kept
        entry.parent.mkdir(parents=True, exist_ok=True)
        with self._lock(entry.with_suffix(".lock")):
            # Another may have been faster.
            return _kept(entry) or self._download(entry, asked)

    def _download(self, entry: Path, asked: dict) -> Fetched:
        for left in entry.parent.glob(f"{entry.stem}.*.part"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        part = Path(tempfile.mkdtemp(".part", f"{entry.stem}.", entry.parent))
        try:
            got = self.downloader.fetch(asked["url"], str(part), asked["start"], asked["end"])
            file = entry.with_suffix(Path(got.path).suffix)
            facts = {"file": file.name, "offset": got.offset, "bytes": got.bytes}
            facts |= {"sha256": _digest(Path(got.path)), "asked": asked}
            note = part / "note.json"
            note.write_text(json.dumps(facts, indent=1))
            os.replace(got.path, file)
            os.replace(note, entry)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return Fetched(str(file), got.offset, got.bytes)

    @contextlib.contextmanager
    def _lock(self, path: Path) -> Iterator[None]:
        """Hold a lock that has a file; the file goes with it."""
        deadline = time.monotonic() + self.downloader.seconds
        while True:
            with open(path, "w") as file:
                while not _locked(file.fileno()):
                    if time.monotonic() > deadline:
                        raise DownloadError(
                            "slow",
                            "another worker has been downloading the same for "
                            f"{self.downloader.seconds:g} s",
                        )
                    time.sleep(_LOOK_SECONDS)
                # It may have been removed by the one who held it before.
                if not _is(path, file.fileno()):
                    continue
                try:
                    yield
                finally:
                    path.unlink()
                return

    def close(self) -> None:
        """Close the downloader."""
        self.downloader.close()


def _kept(entry: Path) -> Fetched | None:
    """What an entry holds; None where it is not there, or no longer what it was."""
    try:
        facts = json.loads(entry.read_text())
        file = entry.with_name(facts["file"])
        whole = file.stat().st_size == facts["bytes"] and _digest(file) == facts["sha256"]
        return Fetched(str(file), float(facts["offset"]), facts["bytes"]) if whole else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _locked(descriptor: int) -> bool:
    """Take a lock, if nobody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(path: Path, descriptor: int) -> bool:
    """Whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
