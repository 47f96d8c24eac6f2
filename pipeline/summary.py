"""What came of a run, for programs and, once it is over, for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from pipeline.store import Store
from schemas.dataset_info import DatasetInfo
from schemas.ledger import CAUSES, DONE, LedgerRow, latest


@dataclass(frozen=True)
class Summary:
    """What a run did and what the data set holds now.

    Attributes:
        new: ids of the videos that this run settled.
        elsewhere: ids that the list gives another address than the ledger does; they were taken
            for the same videos.
    """

    info: DatasetInfo
    output: str
    new: frozenset[str]
    elsewhere: tuple[str, ...]

    @property
    def rows(self) -> dict[str, LedgerRow]:
        """The ledger's last word on every video of the data set, by its id; read anew each time."""
        return latest(Store(self.output).ledger(self.info.runs))


def print_summary(summary: Summary, console: Console) -> None:
    """What came of it: clips by split, failures by cause, where it lies, what to do next."""
    info, output = summary.info, summary.output
    done, hours = 0, 0.0
    causes: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for row in summary.rows.values():
        done += row.outcome == DONE
        hours += row.media_seconds / 3600
        dropped.update(row.dropped)
        if row.cause:
            causes[row.cause] += 1
    table = Table(title=f"{output}", title_justify="left", show_edge=False)
    table.add_column("what")
    table.add_column("number", justify="right")
    table.add_column("meaning")
    table.add_row("videos done", str(done), f"{hours:.2f} hours of sound")
    for split, shards in info.splits.items():
        size = sum(shard.bytes for shard in shards) / 1e6
        words = f"{len(shards)} shards, {size:.1f} MB"
        table.add_row(f"{split} clips", str(info.records(split)), words)
    for cause, number in dropped.most_common():
        table.add_row(f"clips left out: {cause}", str(number), CAUSES[cause].meaning)
    for cause, number in causes.most_common():
        table.add_row(f"failed: {cause}", str(number), CAUSES[cause].meaning)
    console.print(table)
    again = sorted(cause for cause in causes if not CAUSES[cause].permanent)
    if again:
        console.print(f"Some of these may succeed another time: --retry {','.join(again)}")
    if summary.elsewhere:
        console.print(
            f"{len(summary.elsewhere)} videos, {summary.elsewhere[0]} among them, are known from "
            "another address and were taken for the same; give them other ids if they are not."
        )
    console.print(
        f"{len(summary.new)} videos in this run; each one's fate is in {output}/ledger-*. "
        f"More: python -m pipeline report {output}"
    )
