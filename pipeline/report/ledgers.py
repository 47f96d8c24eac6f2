"""What the ledgers of a data set tell, in figures.

They are read line by line. What is kept in memory are counts, a hash of each video's id and of each
clip's sound, and a few examples of everything, so they may have millions of rows. What can't be
read is named and counted, and the rest is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
from array import array
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO
from urllib.parse import urlsplit

import numpy as np
from apache_beam.io.filesystems import FileSystems

from pipeline import gates
from pipeline.store import Store
from schemas import SchemaError
from schemas.dataset_info import RunInfo
from schemas.ledger import CAUSES, FAILED, STAGES, LedgerRow

EXAMPLES = 20
"""Videos that are named of each cause, and pairs of duplicates: those with the lowest hashes."""

MESSAGES = 10
"""Messages that are told of each cause, the most frequent first."""

NEAR_CLIPS = 50_000
"""Clips among which near duplicates are looked for, as each is held against many others."""

_MAX_LINE = 1 << 24
"""Bytes of a ledger's row; a longer line is none."""

_MAX_MESSAGES = 1000
"""Different messages of a cause, hosts and licences that are counted at a time."""

_MAX_TEXT, _MAX_COLUMNS = 2000, 20
"""Characters that are kept of a text, and columns of a list, where a video is an example."""

_LARGEST = 1e15
"""No number of a ledger is as large."""

_SECONDS = (0, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, math.inf)
_DECIBELS = (-math.inf, -60, -55, -50, -45, -40, -35, -30, -25, -20, -15, -10, -5, math.inf)

_SOUND = re.compile(r"[0-9a-f]{1,16}")
_LIKENESS = re.compile(r"([0-9a-f]{16}(:[0-9a-f]{16})*)?")
_VARYING = re.compile(
    r"https?://\S+|(?<![\w/.])\.{0,2}/\S+|(?<=\] )[\w-]+(?=:)|\b0x[0-9a-f]+\b"
    r"|(?<!Error )(?<!Errno )(?<![\w.])\d+(\.\d+)?(?!\w)"
)
"""What differs between messages that say the same: addresses, paths, yt-dlp's ids, numbers
(but not an error's)."""


def short_hash(text: str) -> int:
    """A hash of 64 bits that is the same everywhere."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


class Faults:
    """What could not be read, by file: how often, and in words the first time."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[int, str]] = {}

    def add(self, file: str, message: str, number: int = 1) -> None:
        before, first = self.files.get(file, (0, message))
        self.files[file] = before + number, first

    def add_all(self, other: Faults) -> None:
        for file, (number, message) in other.files.items():
            self.add(file, message, number)

    def to_list(self) -> list[dict]:
        return [
            {"file": file, "number": number, "message": message}
            for file, (number, message) in sorted(self.files.items())
        ]


def open_file(path: str) -> contextlib.AbstractContextManager[BinaryIO]:
    """A file on any filesystem that Beam knows, to be read as it is."""
    return FileSystems.open(path, "application/octet-stream", "uncompressed")


def in_words(error: Exception) -> str:
    """An error for people; what is no fault of the file keeps its kind."""
    return str(error) if isinstance(error, SchemaError) else f"{type(error).__name__}: {error}"


def ledger_rows(store: Store, run: RunInfo, faults: Faults) -> Iterator[LedgerRow]:
    """The rows of a run's ledger, checked; those that can't be read are noted as faults."""
    try:
        with open_file(store.path(run.ledger)) as file:
            number = 0
            while line := file.readline(_MAX_LINE):
                number += 1
                try:
                    yield _checked(LedgerRow.from_json(line.decode(), f"line {number}"))
                except (SchemaError, UnicodeDecodeError, RecursionError) as error:
                    faults.add(run.ledger, str(error))
    except Exception as error:  # noqa: BLE001 - each filesystem has errors of its own
        faults.add(run.ledger, in_words(error))


def last_words(
    store: Store, runs: Sequence[RunInfo], faults: Faults
) -> Iterator[tuple[int, LedgerRow, bool]]:
    """Every row of the ledgers, newest run first: the run's number, the row, whether it counts.

    Of a video that stands in several ledgers the row of the newest counts.
    """
    seen: set[int] = set()
    for number in reversed(range(len(runs))):
        for row in ledger_rows(store, runs[number], faults):
            key = short_hash(row.video_id)
            yield number, row, key not in seen
            seen.add(key)


def _checked(row: LedgerRow) -> LedgerRow:
    """The row, if its values are of the kinds that its fields have.

    Older ledgers had one number in `seconds`; that is left out.

    Raises:
        SchemaError: a value of another kind.
    """
    if isinstance(row.seconds, (int, float)):
        row = replace(row, seconds={})
    if not (isinstance(row.seconds, dict) and isinstance(row.extra, dict) and _fits(row)):
        raise SchemaError(f"the row of {row.video_id!r:.100} has a value of a wrong kind")
    return row


def _fits(row: LedgerRow) -> bool:
    texts = [row.video_id, row.url, row.split, row.message, *row.seconds, *row.dropped]
    counts = [row.attempts, row.clips, row.bytes, *row.dropped.values()]
    sizes = [row.media_seconds, *row.seconds.values()]
    for fact in row.facts:
        texts += (fact.sound, fact.likeness)
        counts.append(fact.number)
        sizes += (fact.start_seconds, fact.seconds, fact.loudness, fact.motion or 0.0)
    return (
        set(map(type, texts)) == {str}
        and set(map(type, counts)) == {int}
        and set(map(type, sizes)) <= {int, float}
        and 0 <= min(counts) <= max(counts) < 1 << 63
        and all(-_LARGEST < size < _LARGEST for size in sizes)  # nor is there a NaN
        and all(_SOUND.fullmatch(fact.sound) for fact in row.facts)
        and all(_LIKENESS.fullmatch(fact.likeness) for fact in row.facts)
    )


class Spread:
    """How numbers are spread: each counted to a tenth, so that millions take little memory."""

    def __init__(self) -> None:
        self.counts: Counter[float] = Counter()

    def add(self, value: float) -> None:
        self.counts[round(value, 1)] += 1

    def to_dict(self, edges: Sequence[float], unit: str) -> dict:
        """Bins between the edges (their lower edge is theirs), quantiles, mean."""
        number = self.counts.total()
        bins = [0] * (len(edges) - 1)
        quantiles: dict[str, float] = {}
        below = 0
        for value, count in sorted(self.counts.items()):
            bins[min(bisect_right(edges, value), len(bins)) - 1] += count
            below += count
            for percent in (0, 5, 25, 50, 75, 95, 100):
                if below * 100 >= percent * number:
                    quantiles.setdefault(str(percent), value)
        total = sum(value * count for value, count in self.counts.items())
        return {
            "unit": unit,
            "number": number,
            "mean": total / number if number else None,
            "quantiles": quantiles,
            "bins": [
                {"from": _finite(low), "to": _finite(high), "count": count}
                for low, high, count in zip(edges, edges[1:], bins, strict=False)
            ],
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@dataclass
class Lost:
    """The videos that failed for one cause.

    Attributes:
        examples: those with the lowest hashes of their ids, for people to look at.
        messages: the tools' own words without what differs from video to video; of very many
            different ones the rare ones are forgotten.
    """

    stages: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[int, str, dict]] = field(default_factory=list)

    def add(self, key: int, row: LedgerRow) -> None:
        self.stages[row.stage] += 1
        self.messages[_said(row)] += 1
        if len(self.messages) > _MAX_MESSAGES:
            self.messages = Counter(dict(self.messages.most_common(_MAX_MESSAGES // 2)))
        if len(self.examples) < EXAMPLES or key < self.examples[-1][0]:
            example = {
                "video_id": _clipped(row.video_id),
                "url": _clipped(row.url),
                "split": _clipped(row.split),
                "stage": row.stage,
                "attempts": row.attempts,
                "message": _clipped(row.message),
                "extra": {
                    _clipped(name): _clipped(str(value))
                    for name, value in list(row.extra.items())[:_MAX_COLUMNS]
                },
            }
            insort(self.examples, (key, row.video_id, example))
            del self.examples[EXAMPLES:]

    def to_dict(self, cause: str) -> dict:
        about = CAUSES[cause]
        return {
            "cause": cause,
            "videos": self.stages.total(),
            "meaning": about.meaning,
            "permanent": about.permanent,
            "stages": dict(self.stages),
            "messages": [
                {"message": message, "videos": number}
                for message, number in self.messages.most_common(MESSAGES)
            ],
            "examples": [example for _, _, example in self.examples],
        }


def _clipped(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"


def _said(row: LedgerRow) -> str:
    """What is the same in messages that say the same of different videos."""
    message = row.message[:_MAX_TEXT]
    for own in sorted((row.url, row.video_id), key=len, reverse=True):
        if len(own) > 3:  # else it may be a part of any word
            message = message.replace(own, "…")
    return _VARYING.sub("…", message).strip()[:300]


class LedgerFigures:
    """The figures of the ledgers, built row by row."""

    def __init__(self, runs: Sequence[RunInfo]) -> None:
        self.runs = runs
        self.done = self.failed = 0
        self.clips = self.bytes = self.downloaded = 0
        self.seconds = 0.0
        self.splits: dict[str, Counter[str]] = {}
        self.stages: Counter[str] = Counter()
        self.attempts: Counter[int] = Counter()
        self.dropped: Counter[str] = Counter()
        self.lost: dict[str, Lost] = {}
        self.hosts: Counter[str] = Counter()
        self.licenses: Counter[str] = Counter()
        self.lengths = {"videos": Spread(), "clips": Spread()}
        self.loudness = {"videos": Spread(), "clips": Spread()}
        self.without_facts = self.silent = self.still = self.moving = 0
        self.sounds = array("Q")
        self.twins = gates.Twins(("duplicate", "near_duplicate"))
        self.likened = self.near = 0
        self.near_pairs: list[tuple[str, str]] = []
        # Work done, also on videos that were tried again later: per run, and per stage.
        self.work: list[Counter[str]] = [Counter() for _ in runs]
        self.stage_work: dict[str, Counter[str]] = {}

    def add(self, run: int, row: LedgerRow, counts: bool) -> None:
        """Take in a row; `counts` as `last_words` says it."""
        work = {"videos": 1, "sound": row.media_seconds, "bytes": row.bytes}
        self.work[run].update(work)
        for stage, seconds in row.seconds.items():
            self.stage_work.setdefault(stage, Counter()).update({**work, "seconds": seconds})
        if not counts:
            return
        self.stages[row.stage] += 1
        self.attempts[row.attempts] += 1
        self.bytes += row.bytes
        self.downloaded += row.bytes if "://" in row.url else 0
        self.dropped.update(row.dropped)
        if row.outcome == FAILED:
            self.failed += 1
            self.lost.setdefault(row.cause, Lost()).add(short_hash(row.video_id), row)
            return
        self.done += 1
        self.hosts = _counted(self.hosts, _host(row.url))
        self.licenses = _counted(self.licenses, str(row.extra.get("license", "")))
        self.clips += row.clips
        self.seconds += row.media_seconds
        split = self.splits.setdefault(row.split, Counter())
        split.update({"videos": 1, "clips": row.clips, "seconds": row.media_seconds})
        self.lengths["videos"].add(row.media_seconds)
        self._add_facts(row)

    def _add_facts(self, row: LedgerRow) -> None:
        self.without_facts += max(0, row.clips - len(row.facts))
        power = 0.0
        for fact in row.facts:
            self.lengths["clips"].add(fact.seconds)
            self.loudness["clips"].add(fact.loudness)
            power += fact.seconds * 10 ** (min(fact.loudness, 0.0) / 10)
            self.silent += fact.loudness < gates.SILENCE
            if fact.motion is not None:
                self.moving += 1
                self.still += fact.motion < gates.STILL
            self.sounds.append(int(fact.sound, 16))
            if fact.likeness and self.likened < NEAR_CLIPS:
                self.likened += 1
                cause, twin = self.twins.see(row.video_id, fact) or ("", "")
                if cause == "near_duplicate":
                    self.near += 1
                    if len(self.near_pairs) < EXAMPLES:
                        self.near_pairs.append((twin, f"{row.video_id}/{fact.number}"))
        if seconds := sum(fact.seconds for fact in row.facts):
            self.loudness["videos"].add(10 * math.log10(power / seconds) if power else -120.0)

    def duplicates(self) -> tuple[int, int, list[int]]:
        """Sounds that several clips share, clips that repeat another's, some of those sounds."""
        sounds, counts = np.unique(np.frombuffer(self.sounds, np.uint64), return_counts=True)
        shared = sounds[counts > 1]
        return len(shared), int((counts - 1).sum()), [int(sound) for sound in shared[:EXAMPLES]]

    def to_dict(self, clip_seconds: float) -> dict:
        """For JSON; without what takes the ledgers again (`duplicate_clips`)."""
        half_steps = [clip_seconds * eighth / 8 for eighth in range(9)]
        sounds, repeats, _ = self.duplicates()
        return {
            "videos": {"done": self.done, "failed": self.failed},
            "clips": self.clips,
            "hours": self.seconds / 3600,
            "bytes": self.bytes,
            "bytes_downloaded": self.downloaded,
            "causes": [
                lost.to_dict(cause)
                for cause, lost in sorted(
                    self.lost.items(), key=lambda item: (-item[1].stages.total(), item[0])
                )
            ],
            "stages": {stage: self.stages[stage] for stage in STAGES},
            "attempts": {str(number): self.attempts[number] for number in sorted(self.attempts)},
            "dropped": dict(self.dropped.most_common()),
            "hosts": _most_first(self.hosts, "host"),
            "licenses": _most_first(self.licenses, "license"),
            "facts": {
                "clips": len(self.sounds),
                "clips_without": self.without_facts,
                "silent": self.silent,
                "still": self.still,
                "clips_with_motion": self.moving,
                "shared_sounds": sounds,
                "duplicates": repeats,
                "clips_likened": self.likened,
                "near_duplicates": self.near,
                "near_duplicate_pairs": [list(pair) for pair in self.near_pairs],
            },
            "lengths": {
                "videos": self.lengths["videos"].to_dict(_SECONDS, "s"),
                "clips": self.lengths["clips"].to_dict(half_steps, "s"),
            },
            "loudness": {
                what: spread.to_dict(_DECIBELS, "dB") for what, spread in self.loudness.items()
            },
            "throughput": self._throughput(),
        }

    def _throughput(self) -> list[dict]:
        """What each stage did in its time: of videos one by one, and of runs as a whole."""
        stages = [
            _rates(stage, "videos", self.stage_work[stage])
            for stage in sorted(
                self.stage_work, key=lambda s: (STAGES.index(s), s) if s in STAGES else (99, s)
            )
        ]
        for stage in dict.fromkeys(stage for run in self.runs for stage in run.seconds):
            work: Counter[str] = Counter()
            for run, done in zip(self.runs, self.work, strict=True):
                if stage in run.seconds:
                    work.update({**done, "seconds": run.seconds[stage]})
            stages.append(_rates(stage, "runs", work))
        return stages


def _host(url: str) -> str:
    """The site that a video is from; "" for a file."""
    try:
        address = urlsplit(url)
        return (address.hostname or "") if address.scheme in ("http", "https") else ""
    except ValueError:  # no address, whatever it begins with
        return ""


def _counted(counts: Counter[str], text: str) -> Counter[str]:
    """One more of a text. Of very many different ones the rare ones are forgotten."""
    counts[_clipped(text)] += 1
    few = len(counts) <= _MAX_MESSAGES
    return counts if few else Counter(dict(counts.most_common(_MAX_MESSAGES // 2)))


def _most_first(counts: Counter[str], name: str) -> list[dict]:
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{name: text, "videos": number} for text, number in order]


def _rates(stage: str, measured: str, work: Counter[str]) -> dict:
    seconds = work["seconds"]

    def rate(amount: float) -> float | None:
        return amount / seconds if seconds > 0 else None

    return {
        "stage": stage,
        "measured": measured,
        "videos": work["videos"],
        "seconds": seconds,
        "videos_per_second": rate(work["videos"]),
        "hours_per_hour": rate(work["sound"]),
        "bytes_per_second": rate(work["bytes"]),
    }


def duplicate_clips(
    store: Store, runs: Sequence[RunInfo], sounds: Sequence[int]
) -> list[list[str]]:
    """The ids of the clips that have each of these sounds, at most `EXAMPLES` of each."""
    clips: dict[int, list[str]] = {sound: [] for sound in sounds}
    if clips:
        for _, row, counts in last_words(store, runs, Faults()):
            for fact in row.facts if counts else ():
                same = clips.get(int(fact.sound, 16))
                if same is not None and len(same) < EXAMPLES:
                    same.append(f"{row.video_id}/{fact.number}")
    return [sorted(same) for same in clips.values()]
