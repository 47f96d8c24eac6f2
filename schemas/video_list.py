"""The video list: CSV with a header, JSON lines, or plain lines of URLs and paths.

A row has a `url` (http(s), anything yt-dlp knows, or a local path) and optionally `id`, `start`,
`end` (seconds), `split`; other columns are carried along. A relative path is relative to the list.
The authors' `urls_public.txt` is such a list of plain lines; see `_FLICKR_PLAY`.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from schemas import SchemaError

SPLITS = ("train", "validation", "test")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_STORES = ("gs://", "s3://", "hdfs://", "azfs://")
_FLICKR_PLAY = re.compile(
    r"https?://(?:www\.|secure\.)?flickr\.com/videos/(?P<owner>[\w@-]+)/(?P<id>[0-9]+)(?:/.*)?",
    re.ASCII,
)
"""The form of the addresses in the authors' `urls_public.txt`, `http://www.flickr.com/videos/OWNER/
ID/play/orig/SECRET`. yt-dlp knows the page of the same video alone, so that becomes the `url`; the
address as listed stays as `listed_url`. The id is Flickr's, as in the authors' lists of frames."""
_OBJECT = re.compile(r"\w+://[^/]+/.*[^/]")
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_KNOWN = ("url", "id", "start", "end", "split")


@dataclass(frozen=True, slots=True)
class VideoRow:
    """One video to work on.

    Attributes:
        video_id: the row's `id`, or a hash of what it asks for; unique in a data set.
        start, end: seconds of the video; None where the row doesn't say.
        split: the row's split, or "" to have it drawn from the id.
        extra: the row's other columns.
    """

    video_id: str
    url: str
    start: float | None = None
    end: float | None = None
    split: str = ""
    extra: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def is_local(self) -> bool:
        """Whether `url` is a path of this machine."""
        return not _SCHEME.match(self.url)

    @property
    def is_web(self) -> bool:
        """Whether `url` is an address of the web, as against a path here or in an object store."""
        scheme = _SCHEME.match(self.url)
        return scheme is not None and scheme[0].lower() not in _STORES

    def under(self, folder: Path) -> VideoRow:
        """The row with its path, if it is a relative one, taken as relative to a folder.

        The id stays: a list and its videos may move together.
        """
        if not self.is_local:
            return self
        return dataclasses.replace(self, url=str((folder / self.url).absolute()))


@dataclass(frozen=True)
class BadRow:
    """A row that can't be used: where it stands, what it says, why it can't."""

    line: int
    text: str
    message: str

    @property
    def video_id(self) -> str:
        return "bad-row-" + hashlib.sha256(self.text.encode(errors="replace")).hexdigest()[:16]


def default_id(url: str, start: float | None = None, end: float | None = None) -> str:
    """The id of a row that has none: a hash of what it asks for."""
    section = "" if start is None and end is None else f"#{start}-{end}"
    return hashlib.sha256(f"{url}{section}".encode()).hexdigest()[:16]


def draw_split(video_id: str, validation_share: float) -> str:
    """`train` or `validation`, from the SHA-256 of the id, so the same on every machine."""
    draw = int.from_bytes(hashlib.sha256(video_id.encode()).digest()[:8], "big") / 2**64
    return "validation" if draw < validation_share else "train"


def parse(text: str, name: str = "") -> tuple[list[VideoRow], list[BadRow]]:
    """Read a video list; `name` (its file's name) tells the format by its ending.

    Rows that say the same twice count once. A row that can't be used is returned as a `BadRow`,
    never dropped.

    Raises:
        SchemaError: the list as a whole can't be read (no `url` column, an open quote).
    """
    suffix = Path(name.removesuffix(".gz")).suffix.lower()
    if suffix in (".csv", ".tsv"):
        entries = _from_csv(text, "\t" if suffix == ".tsv" else ",", name)
    elif suffix in (".jsonl", ".ndjson", ".json"):
        entries = _from_json_lines(text)
    else:
        lines = enumerate(text.split("\n"), 1)
        entries = [(n, s, {"url": s.strip()}) for n, s in lines if s.strip() and s[0] != "#"]
    rows: dict[str, VideoRow] = {}
    bad: dict[str, BadRow] = {}
    for line, source, fields in entries:
        try:
            if isinstance(fields, str):
                raise SchemaError(fields)
            row = _row(fields)
            if rows.get(row.video_id, row) != row:
                raise SchemaError(
                    f"the id {row.video_id!r} already stands for {rows[row.video_id].url!r}; "
                    "give each video (and each section of it) an id of its own"
                )
            rows.setdefault(row.video_id, row)
        except SchemaError as error:
            unusable = BadRow(line, source, f"line {line}: {error}")
            bad.setdefault(unusable.video_id, unusable)
    return list(rows.values()), list(bad.values())


def _from_csv(text: str, delimiter: str, name: str) -> list[tuple[int, str, dict | str]]:
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    header = [column.strip() for column in reader.fieldnames or []]
    if "url" not in header:
        raise SchemaError(
            f"{name} has no column 'url'; its header is {', '.join(header) or 'empty'}"
        )
    reader.fieldnames = header
    entries: list[tuple[int, str, dict | str]] = []
    for fields in _checked(reader, name):
        source = delimiter.join(str(value) for value in fields.values() if value)
        if None in fields or None in fields.values():
            entries.append((reader.line_num, source, "not as many columns as the header has"))
        else:
            entries.append((reader.line_num, source, fields))
    return entries


def _checked(reader: csv.DictReader, name: str) -> Iterator[dict]:
    try:
        yield from reader
    except csv.Error as error:
        raise SchemaError(f"{name}, line {reader.line_num}: {error}") from error


def _from_json_lines(text: str) -> list[tuple[int, str, dict | str]]:
    entries: list[tuple[int, str, dict | str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as error:
            fields = f"not JSON: {error}"
        if not isinstance(fields, (dict, str)):
            fields = "not a JSON object"
        entries.append((number, line, fields))
    return entries


def _row(fields: dict) -> VideoRow:
    url = str(fields.get("url") or "").strip()
    if not url:
        raise SchemaError("no url")
    video_id = str(fields.get("id") or "").strip()
    for value in (url, video_id):
        if _UNUSABLE.search(value):
            raise SchemaError(f"control characters or undecodable bytes in {value!r}")
    if url.lower().startswith(("gs://", "s3://")) and not _OBJECT.fullmatch(url):
        raise SchemaError(f"{url!r} is no object; one is at {url[:5]}BUCKET/NAME")
    start, end = (_seconds(fields.get(key), key) for key in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise SchemaError(f"end {end} is not after start {start or 0.0}")
    split = str(fields.get("split") or "").strip()
    if split and split not in SPLITS:
        raise SchemaError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}, or none")
    extra = {str(k): str(v) for k, v in fields.items() if k not in _KNOWN and v not in (None, "")}
    if play := _FLICKR_PLAY.fullmatch(url):
        extra.setdefault("listed_url", url)
        url = f"https://www.flickr.com/photos/{play['owner']}/{play['id']}/"
        if start is None and end is None:
            video_id = video_id or play["id"]
    return VideoRow(
        video_id=video_id or default_id(url, start, end),
        url=url,
        start=start,
        end=end,
        split=split,
        extra=extra,
    )


def _seconds(value: object, key: str) -> float | None:
    if value is None or not str(value).strip():
        return None
    try:
        seconds = float(str(value))
    except ValueError:
        raise SchemaError(f"{key} is {value!r}; seconds are wanted") from None
    if not math.isfinite(seconds) or seconds < 0:
        raise SchemaError(f"{key} is {value!r}; seconds from the start are wanted")
    return seconds
