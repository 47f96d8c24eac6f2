"""The video list that a search makes, and which of its words are searched.

Two files, both only ever added to. The video list has one row a video. Beside it,
`<list>.words.jsonl` has one line a word searched, written when the word's rows are on the disk: a
run that was killed finds there which words are missing. Rows that a killed run wrote of a word that
has no such line yet are known by their ids when the word is searched again, so none stands twice;
a row that it wrote half is cut off.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from schemas import SchemaError, video_list

COLUMNS = ("url", "id", "word", "title", "uploader", "duration", "uploaded", "license", "site")
"""Of the video list: `word` is the first that found the video, `duration` is in seconds."""


class SearchStopped(Exception):
    """The search can't go on now; what is found is kept."""


class WordFailed(Exception):
    """A word couldn't be searched.

    Attributes:
        cause: one of `schemas.ledger.CAUSES`.
        again: whether asking again may help.
        of_word: whether it is the word's fault, and not the site's.
        for_all: whether it is certain that no other word will fare better.
        retry_after: seconds that the site asks to wait; None if it doesn't.
    """

    def __init__(
        self,
        cause: str,
        message: str,
        again: bool = True,
        of_word: bool = False,
        for_all: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{cause}: {message}")
        self.cause, self.message = cause, message
        self.again, self.of_word, self.for_all = again, of_word, for_all
        self.retry_after = retry_after


def _csv(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


_HEADER = _csv([COLUMNS])


class VideoList:
    """The video list and the file of the words searched, to be added to.

    Attributes:
        rows: by id, the word that found the video, and the host it is at.

    Raises:
        SchemaError: they are no such files, or don't belong together.
        SearchStopped: another run is adding to them.
    """

    def __init__(self, path: Path) -> None:
        if path.exists():
            with path.open("rb") as file:
                if not _HEADER.startswith(file.read(len(_HEADER))):
                    raise SchemaError(
                        f"{path} is not a list that this command made (which begins with "
                        f"{_HEADER.decode().strip()}); give another --output"
                    )
        self.path = path
        self.words_path = path.with_name(path.name + ".words.jsonl")
        self._words = self.words_path.open("ab", buffering=0)
        try:
            fcntl.flock(self._words, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._words.close()
            raise SearchStopped(f"another run is writing {path}") from None
        _cut_half_line(self.words_path, 0)
        lines = self._read_words()
        written = lines[-1]["bytes"] if lines else 0
        if not path.exists() and any(line.get("found") for line in lines):
            raise SchemaError(
                f"{self.words_path} says which words are in {path}, which is gone: put it back, or "
                f"remove {self.words_path.name} too, to search all words again"
            )
        # A last line without its end is a row that was written half; but not if someone has
        # edited the list, whose rows are all counted.
        _cut_half_line(path, written)
        self._rows = path.open("ab", buffering=0)
        if not os.path.getsize(path):
            _write(self._rows, _HEADER)
        self.rows = self._read_rows()
        self._outcomes = {
            (line["word"], _key(line["query"])): line["outcome"] for line in lines if "word" in line
        }
        self._note({})

    def __enter__(self) -> VideoList:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()
        self._words.close()

    def outcome(self, word: str, query: dict) -> str:
        """How an earlier run fared with a word and this query: "done", "failed", or ""."""
        return self._outcomes.get((word, _key(query)), "")

    def add(self, word: str, query: dict, videos: list[dict[str, str]]) -> int:
        """A word is searched: add those of its videos that are new; returns how many.

        Raises:
            OSError: the disk is full, say. The word counts as missing.
        """
        new, also = [], []
        for video in videos:
            row = {**video, "word": word, "site": query["site"]}
            first, host = self.rows.get(row["id"], ("", ""))
            if host and host != _host(row["url"]):  # two sites may give two videos one number
                row["id"] = video_list.default_id(row["url"])
                first, host = self.rows.get(row["id"], ("", ""))
            if not host:
                new.append(row)
            elif first != word:
                also.append(row["id"])
        _write(self._rows, _csv([row.get(name, "") for name in COLUMNS] for row in new))
        self.rows |= {row["id"]: (word, _host(row["url"])) for row in new}
        line = {"word": word, "query": query, "outcome": "done", "found": len(videos)}
        self._note({**line, "also": also})
        return len(new)

    def add_failure(self, word: str, query: dict, error: WordFailed) -> None:
        """A word failed; the next run tries it again."""
        line = {"word": word, "query": query, "outcome": "failed"}
        self._note({**line, "cause": error.cause, "message": error.message})

    def _note(self, line: dict) -> None:
        """One more line about the words, with the size that the list now has."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = {**line, "bytes": os.path.getsize(self.path), "when": now}
        _write(self._words, (json.dumps(line) + "\n").encode())

    def _read_words(self) -> list[dict]:
        lines = []
        for number, text in enumerate(self.words_path.read_text("utf-8").split("\n")[:-1], 1):
            try:
                line = json.loads(text)
                if "word" in line:
                    _ = line["query"], line["outcome"]
                line["bytes"] = int(line["bytes"])
            except (ValueError, KeyError, TypeError) as error:
                raise SchemaError(
                    f"{self.words_path}, line {number}: not a line of this program's ({error!r})"
                ) from error
            lines.append(line)
        return lines

    def _read_rows(self) -> dict[str, tuple[str, str]]:
        try:
            with self.path.open(encoding="utf-8", newline="") as file:
                table = csv.DictReader(file, restval="")
                return {row["id"]: (row["word"], _host(row["url"])) for row in table}
        except (csv.Error, UnicodeDecodeError) as error:
            raise SchemaError(f"{self.path} is no table in UTF-8 ({error})") from error


def _host(url: str) -> str:
    return sys.intern(url.partition("://")[2].partition("/")[0])


def _key(query: dict) -> str:
    return json.dumps(query, sort_keys=True)


def _write(file: io.FileIO, data: bytes) -> None:
    """Add all of it to a file, down to the disk, or nothing."""
    before = os.fstat(file.fileno()).st_size
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    except BaseException:
        os.ftruncate(file.fileno(), before)
        raise


def _cut_half_line(path: Path, known: int) -> None:
    """End a file with the end of a line: what is after the last one is cut off, but where the file
    is no longer than `known` bytes, it is ended."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - (1 << 16))
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            end = start + newline + 1 if newline >= 0 else start
            if newline >= 0:
                break
        if end < size <= known:
            file.seek(size)
            file.write(b"\n")
        elif end < size:
            file.truncate(end)
