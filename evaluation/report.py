"""Results in one form for every experiment: Markdown and a page for people, CSV and JSON for
programs, each with the weights, the settings, the versions and the machine."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pages
from evaluation import machine
from pages import markdown

PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "scikit-learn")

Cell = str | int | float | None


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        digits: of its numbers, behind the point; None for as they are (the paper's 88 and 92.2).
    """

    name: str
    digits: int | None = None

    def show(self, cell: Cell) -> str:
        """A cell for people; "–" for None."""
        if cell is None:
            return "–"
        if isinstance(cell, float):
            return f"{cell:g}" if self.digits is None else f"{cell:.{self.digits}f}"
        return str(cell)


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: letters, digits and hyphens; programs find it by that.
        title: a line above it.
        columns: the first names the row.
        rows: cells in the columns' order; None where there is nothing to say.
        note: a line below it.
        printed: whether people see it in the Markdown; one that is too large is in the CSV and the
            JSON alone.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[tuple[Cell, ...]]
    note: str = ""
    printed: bool = True

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"{self.name}: a row of {len(row)} cells, and {len(self.columns)} columns"
                )

    def numeric(self, column: int) -> bool:
        """Whether a column is of numbers."""
        cells = [row[column] for row in self.rows if row[column] is not None]
        return bool(cells) and not any(isinstance(cell, str) for cell in cells)

    def shown(self) -> list[list[str]]:
        """Its rows for people."""
        return [
            [column.show(cell) for column, cell in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]


@dataclass(frozen=True)
class Report:
    """What came out of an experiment, and all that made it.

    Attributes:
        name: of its files.
        tables: the paper's figures beside ours.
        notes: what to know to read them, a sentence or two each.
        settings: what was asked for; nothing that means nothing elsewhere, like a path.
        weights: the network's name (`name`) and hash (`sha256`); {} where none was judged.
        details: whatever else programs may want (JSON only).
    """

    name: str
    title: str
    tables: list[Table]
    notes: list[str] = field(default_factory=list)
    settings: dict[str, object] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    details: dict[str, object] = field(default_factory=dict)

    @property
    def versions(self) -> dict[str, str | None]:
        return machine.versions(PACKAGES)

    @property
    def machine(self) -> dict[str, object]:
        return machine.describe()


def to_json(report: Report) -> str:
    found = dataclasses.asdict(report) | {"versions": report.versions, "machine": report.machine}
    for table in found["tables"]:
        table["columns"] = [column["name"] for column in table["columns"]]
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def to_csv(report: Report) -> str:
    """All tables, a line a cell: table, row (from 1), column, value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "row", "column", "value"])
    for table in report.tables:
        for number, row in enumerate(table.rows, 1):
            for column, cell in zip(table.columns, row, strict=True):
                writer.writerow([table.name, number, column.name, "" if cell is None else cell])
    return text.getvalue()


def to_markdown(report: Report) -> str:
    lines = [f"# {report.title}", ""]
    for table in report.tables:
        if not table.printed:
            continue
        lines += [f"{table.title}:", "", *markdown_table(table), ""]
        lines += [table.note, ""] if table.note else []
    lines += [f"- {note}" for note in (*report.notes, *footing(report))]
    return "\n".join(lines) + "\n"


def markdown_table(table: Table) -> list[str]:
    """A table in Markdown, a line each; numbers are set to the right."""
    right = [table.numeric(at) for at in range(len(table.columns))]
    return markdown.table([column.name for column in table.columns], table.shown(), right)


def footing(report: Report) -> list[str]:
    """Weights, settings, versions and machine, a line each."""
    lines = []
    if report.weights:
        lines.append(f"Weights: {report.weights['name']}, SHA-256 {report.weights['sha256']}")
    if report.settings:
        lines.append(
            f"Settings: {', '.join(f'{k} {_said(v)}' for k, v in report.settings.items())}"
        )
    lines.append(
        ", ".join(f"{name} {number}" for name, number in report.versions.items() if number)
    )
    about = report.machine
    lines.append(
        f"{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB; {about['system']}; "
        f"Python {about['python']}"
    )
    return lines


def publish(
    report: Report, output: Path | None, template: str = "evaluation.html", **data: object
) -> None:
    """Print the Markdown; where there is a folder, write it, CSV, JSON and a page into it.

    Args:
        template: of the page, which gets `report`, `footing` and `data`.
    """
    text = to_markdown(report)
    if output:
        page = pages.render(template, report=report, footing=footing(report), **data)
        files = {"md": text, "csv": to_csv(report), "json": to_json(report), "html": page}
        for kind, content in files.items():
            write_whole(output / f"{report.name}.{kind}", content)
    print(text)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there in whole or not at all."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as folder:
        part = Path(folder) / path.name
        part.write_text(text, "utf-8")
        os.replace(part, path)


def _said(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
