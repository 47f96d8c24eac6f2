"""`python -m pipeline report`: what a data set holds, what was lost and why, clips to look at."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from apache_beam.io.filesystems import FileSystems
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import pages
from pipeline import gates
from pipeline.report.card import card
from pipeline.report.compare import KINDS, compare
from pipeline.report.ledgers import Faults, LedgerFigures, duplicate_clips, last_words
from pipeline.report.shards import Pick, ShardFigures, read_record, spread_out
from pipeline.report.show import show
from pipeline.running import strange_options
from pipeline.store import RECIPE, Store, set_options
from schemas import SCHEMA_VERSION, SchemaError, audio
from schemas.clip import ClipRecord
from schemas.dataset_info import FILE_NAME as INFO_NAME
from schemas.dataset_info import DatasetInfo, ShardInfo, TeacherInfo
from schemas.waveform import SAMPLE_RATE

TOP = 5
"""Classes that are shown of each label step."""

THREADS = max(4, os.cpu_count() or 1)
"""Shards read at a time; checksums and arithmetic run beside each other, and stores answer late."""

CLASSES, DIFFERENCES = 30, 200
"""Classes of a teacher, and videos that differ in one way, on the page; JSON has them all."""

_SETTINGS = ("audio_codec", "channels", "frames", "pictures", "clip_seconds", "step_seconds")

EXAMPLES = """\
examples:
  python -m pipeline report data
  python -m pipeline report data --page report.html --samples 48
  python -m pipeline report data --compare data.old --json report.json
  python -m pipeline report data --card DATA_CARD.md
  python -m pipeline report gs://bucket/data --shards 20

Options that are not listed here go to Beam, which reads gs:// and s3:// (--s3_endpoint_url ...).

exit status: 0; 1 if something could not be read (it is named, the rest is reported); 2 if there is
no data set to report on
"""


@dataclass(frozen=True)
class ReportSettings:
    """What to report on, and where to.

    Attributes:
        data: the data set, on any filesystem that Beam knows.
        compare: another one to hold against it.
        page: file to write the HTML page to.
        json: file to write everything to.
        card: file to write the data card to.
        samples: clips on the page.
        shards: only so many shards of each split are read for the classes and the samples; None
            for all.
    """

    data: str
    compare: str | None = None
    page: str | None = None
    json: str | None = None
    card: str | None = None
    samples: int = 24
    shards: int | None = None


def report(settings: ReportSettings, console: Console) -> dict:
    """Read a data set, show it, write the files that were asked for; returns what JSON holds.

    Raises:
        SchemaError: there is no data set, or one of another version.
        OSError: a file can't be written.
    """
    store, info = _data_set(settings.data)
    other = _data_set(settings.compare) if settings.compare else None
    faults = Faults()
    ledger = LedgerFigures(info.runs)
    shards = ShardFigures(info.teachers, settings.samples if settings.page else 0)
    with _progress() as progress:
        _read_ledgers(store, info, ledger, faults, progress)
        read = _read_shards(store, info, shards, settings.shards, progress)
        faults.add_all(shards.faults)
        next_run = Store(store.root, len(info.runs))
        found = {
            "schema_version": SCHEMA_VERSION,
            "data": store.root,
            "under_way": next_run.exists(next_run.work(RECIPE)),
            "settings": {name: getattr(info, name) for name in _SETTINGS},
            "gates": {"silence": gates.SILENCE, "still": gates.STILL},
            **ledger.to_dict(info.clip_seconds),
            "splits": _splits(info, ledger, faults),
            "shards": {
                "read": read,
                "of": sum(map(len, info.splits.values())),
                "records": shards.records,
            },
            "teachers": [shards.tallies[t.name].to_dict(t) for t in info.classifiers],
        }
        sounds = ledger.duplicates()[2]
        found["facts"]["duplicate_clips"] = duplicate_clips(store, info.runs, sounds)
        found["compare"] = None
        if other:
            progress.add_task("compare", total=None)
            found["compare"] = compare(store, other[0], (info, other[1]), faults)
    samples = _samples(store, info, shards.picks.choose(), faults)
    found["damage"] = faults.to_list()
    show(found, console)
    if settings.json:
        _write(settings.json, json.dumps(found, indent=1), "application/json")
    if settings.card:
        sha256 = hashlib.sha256(store.read(store.path(INFO_NAME))).hexdigest()
        name = store.root.rstrip("/").rpartition("/")[2]
        _write(settings.card, card(name, found, info, sha256), "text/markdown")
    if settings.page:
        page = pages.render(
            "dataset.html",
            report=found,
            samples=samples,
            kinds=KINDS,
            most_classes=CLASSES,
            most_differences=DIFFERENCES,
        )
        _write(settings.page, page, "text/html")
    return found


def _data_set(root: str) -> tuple[Store, DatasetInfo]:
    store = Store(root)
    info = store.info()
    if info is None:
        words = f"there is no {INFO_NAME} in {root}, so it is no data set"
        if store.exists(store.work(RECIPE)):
            words = f"the first run of {root} has finished nothing yet"
        raise SchemaError(words)
    return store, info


def _progress() -> Progress:
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    return Progress(
        *(*columns, TimeElapsedColumn(), TimeRemainingColumn()),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _read_ledgers(
    store: Store, info: DatasetInfo, ledger: LedgerFigures, faults: Faults, progress: Progress
) -> None:
    task = progress.add_task("ledgers", total=len(info.runs))
    for _, rows in groupby(last_words(store, info.runs, faults), key=itemgetter(0)):
        for run, row, counts in rows:
            ledger.add(run, row, counts)
        progress.advance(task)
    progress.update(task, completed=len(info.runs))  # an empty ledger is one too


def _read_shards(
    store: Store, info: DatasetInfo, figures: ShardFigures, most: int | None, progress: Progress
) -> int:
    """Read the shards, several at a time; the sums are taken in their order, so the figures are the
    same to the last digit whichever is read first. Returns how many there were to read."""
    wanted = [
        (split, shard)
        for split, shards in info.splits.items()
        for shard in spread_out(shards, most)
    ]

    def read(item: tuple[str, ShardInfo]) -> ShardFigures:
        return ShardFigures(info.teachers, figures.picks.number).read(store, *item)

    task = progress.add_task("shards", total=sum(shard.bytes for _, shard in wanted))
    pool = ThreadPoolExecutor(THREADS)
    try:
        for (_, shard), part in zip(wanted, pool.map(read, wanted), strict=True):
            figures.merge(part)
            progress.advance(task, shard.bytes)
    finally:
        pool.shutdown(cancel_futures=True)
    return len(wanted)


def _splits(info: DatasetInfo, ledger: LedgerFigures, faults: Faults) -> dict[str, dict]:
    """By split what the ledgers say of it, and the shards; a fault where they don't agree."""
    splits = {}
    for split in sorted(info.splits.keys() | ledger.splits.keys()):
        counts, shards = ledger.splits.get(split, Counter()), info.splits.get(split, [])
        splits[split] = {
            "videos": counts["videos"],
            "clips": counts["clips"],
            "hours": counts["seconds"] / 3600,
            "shards": len(shards),
            "records": info.records(split),
            "bytes": sum(shard.bytes for shard in shards),
        }
        if splits[split]["clips"] != splits[split]["records"]:
            words = (
                f"{split}: {splits[split]['records']} records, but {splits[split]['clips']} clips"
            )
            faults.add(INFO_NAME, f"{words} in the ledgers")
    return splits


def _samples(store: Store, info: DatasetInfo, picks: Sequence[Pick], faults: Faults) -> list[dict]:
    """The clips of the page, with all that it shows of them."""
    samples = []
    for pick in picks:
        try:
            data = read_record(store, pick.file, pick.offset)
            samples.append(_sample(ClipRecord.from_bytes(data), pick.split, info.classifiers))
        except (SchemaError, OSError) as error:
            faults.add(pick.file, f"{pick.clip_id}: {error}")
    return samples


def _sample(record: ClipRecord, split: str, teachers: Sequence[TeacherInfo]) -> dict:
    """A clip as the page's block `clip` wants it. Its sound is MP3, a tenth of the size of FLAC."""
    steps, words = [], [record.clip_id, record.url, split]
    for at, seconds in enumerate(record.frame_times):
        answers = []
        for teacher in teachers:
            probs = record.probs[teacher.name][at].astype(float)
            best = [
                (teacher.classes[index], float(probs[index]))
                for index in probs.argsort()[::-1][:TOP]
            ]
            words += [name for name, _ in best]
            bars = [(name, pages.percent(prob), min(prob, 1.0), "") for name, prob in best]
            answers.append((teacher.name, bars))
        picture = pages.data_url(record.frames[at], "image/jpeg") if record.frames else ""
        steps.append(
            {"seconds": record.start_seconds + seconds, "picture": picture, "answers": answers}
        )
    return {
        "clip_id": record.clip_id,
        "url": record.url,
        "split": split,
        "start_seconds": record.start_seconds,
        "seconds": len(record.pcm) / SAMPLE_RATE,
        "sound": pages.data_url(audio.encode(record.pcm, "mp3"), "audio/mpeg"),
        "steps": steps,
        "words": " ".join(dict.fromkeys(words)).lower(),
    }


def _write(path: str, text: str, kind: str) -> None:
    path = path if "://" in path else os.path.abspath(path)
    with FileSystems.create(path, kind, "uncompressed") as file:
        file.write(text.encode("utf-8", "replace"))  # half a character in a message is no reason


# The command.


def parser() -> argparse.ArgumentParser:
    defaults = ReportSettings("")
    parse = argparse.ArgumentParser(
        prog="python -m pipeline report",
        description="What a data set holds: what became of the videos,\n"
        "how the clips sound, what the teachers see, how fast it was made;\n"
        "and a page with clips to look at.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parse.add_argument("data", metavar="DIR", help="a data set made by `python -m pipeline`")
    parse.add_argument(
        "--page", metavar="FILE", help="write one HTML file with all of it and with sample clips"
    )
    parse.add_argument(
        "--samples",
        type=_number,
        default=defaults.samples,
        metavar="N",
        help="clips on the page, about 0.2 MB each (default: %(default)s)",
    )
    parse.add_argument(
        "--compare",
        metavar="DIR",
        help="another data set: which videos differ and why, and what both were made with",
    )
    parse.add_argument("--json", metavar="FILE", help="write everything, all lists in full")
    parse.add_argument(
        "--card",
        metavar="FILE",
        help="write a data card in Markdown: what is in it, where it is from, what it can't do",
    )
    parse.add_argument(
        "--shards",
        type=_number,
        metavar="N",
        help="for the classes and the samples read only so many shards of each split; shards are "
        "mixed, so a few tell about all (default: all)",
    )
    return parse


def _number(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status, see its help."""
    parse = parser()
    args, beam_args = parse.parse_known_args(argv)
    if unknown := strange_options(beam_args):
        parse.error(f"unknown options {' '.join(unknown)}")
    settings = ReportSettings(**vars(args))
    # Not markup: what strangers wrote may look like it.
    console = Console(markup=False, emoji=False, highlight=False)
    try:
        set_options(beam_args)
        found = report(settings, console)
    except (OSError, ValueError) as error:
        print(f"python -m pipeline report: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 1 if found["damage"] else 0
