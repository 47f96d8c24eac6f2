"""The paper's tables 5 and 6 with what came out here beside them, and which orderings it shows."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from evaluation import paper
from evaluation.ablations.rows import (
    BEYOND,
    GROUPS,
    LABELS,
    LAYER_ORDERINGS,
    LAYERS,
    ORDERINGS,
    ROWS,
    TAUGHT,
)
from evaluation.report import Cell, Column, Report, Table

LEVEL = 0.05
"""How likely chance alone may be to make as large a mean difference, if it is to count."""


def report(found: dict) -> Report:
    """All tables of what `ablations.json` holds."""
    runs = found["runs"]
    columns = [column for column in LAYERS if any(column in run["accuracy"] for run in runs)]
    groups = [
        *((name, title, rows) for name, (title, rows) in GROUPS.items()),
        BEYOND,
    ]
    tables = [group(*one, runs, columns) for one in groups]
    tables += [layers(runs, columns), *orders(runs, columns)]
    return Report(
        name="tables",
        title="Ablations on ESC-10",
        tables=[table for table in tables if table.rows],
        notes=[
            "ESC-10, percent: mean ± standard deviation over the seeds, by the published protocol; "
            "of 5 layers conv4 stands at pool5. Own answers: of networks that were trained on the "
            "labels, fold by fold",
            "A row that isn't better than the network that wasn't trained had too little training "
            "for its place in an order to mean anything",
        ],
        settings={**found["shared"], "epochs": found["epochs"]},
        details={"runs": runs, "made on": found.get("machine", {})},
    )


def group(
    name: str, title: str, rows: Sequence[str], runs: list[dict], columns: list[str]
) -> Table:
    """One comparison of the paper's table 5, as far as it was run."""
    lines = []
    for row in rows:
        ours = [run for run in runs if run["row"] == row]
        if ours:
            cells = [spread([run["accuracy"].get(c) for run in ours]) for c in (*columns, LABELS)]
            seconds = [run["training_seconds"] + run.get("judging_seconds", 0) for run in ours]
            about = ROWS[row]
            lines.append(
                (about.words, len(ours), *cells, about.figure, round(statistics.mean(seconds)))
            )
    names = (*columns, "own answers", "paper")
    return Table(
        name,
        title,
        (Column("row"), Column("seeds"), *map(Column, names), Column("seconds a run")),
        lines,
    )


def layers(runs: list[dict], columns: list[str]) -> Table:
    """The paper's table 6: layer by layer, for each row of teachers."""
    taught = [row for row in TAUGHT if any(run["row"] == row for run in runs)]
    lines = []
    for column in columns if taught else ():
        cells: list[Cell] = [
            spread([run["accuracy"].get(column) for run in runs if run["row"] == row])
            for row in taught
        ]
        papers = [paper_layer(column, teachers) for teachers in ("AlexNet", "VGG")]
        lines.append((column, *cells, *papers))
    return Table(
        "layers",
        "Layers, by teachers (the paper's table 6)",
        (
            Column("layer"),
            *(Column(ROWS[row].words) for row in taught),
            Column("paper, ESC-50, AlexNet"),
            Column("paper, ESC-50, VGG"),
        ),
        lines,
        note="The paper prints these for ESC-50 and DCASE alone.",
    )


def orders(runs: list[dict], columns: list[str]) -> list[Table]:
    """Which of the paper's orderings the runs show, of rows and of layers."""
    ours = [c for c in ("pool5", "conv7") if c in columns]
    rows = []
    for first, second, differences in row_orders(runs, ours):
        ahead, behind = ROWS[first].figure, ROWS[second].figure
        by = None if ahead is None or behind is None else round(ahead - behind, 1)
        cells = [spread(differences[c], sign=True) for c in ours]
        words = ROWS[first].words, ROWS[second].words
        rows.append((*words, by, *cells, verdict(differences["pool5"])))
    of_layers = [
        (
            first,
            second,
            round(paper_layer(first) - paper_layer(second), 1),
            spread(differences, sign=True),
            verdict(differences),
        )
        for first, second, differences in layer_orders(runs)
    ]
    note = (
        "Differences between runs of one seed: mean ± standard deviation. Shown, or the other way "
        f"round: by a t-test over the seeds at the {LEVEL:.0%} level."
    )
    names = ("ahead in the paper", "of", "by, there")
    return [
        Table(
            "orderings",
            "The paper's orderings",
            (*map(Column, names), *(Column(f"here, {c}") for c in ours), Column("at pool5 it is")),
            rows,
            note,
        ),
        Table(
            "layer-orderings",
            "The paper's orderings of layers (8 layers, both teachers)",
            (*map(Column, names), Column("here"), Column("it is")),
            of_layers,
            note,
        ),
    ]


def row_orders(
    runs: list[dict], columns: Sequence[str]
) -> list[tuple[str, str, dict[str, list[float]]]]:
    """The paper's pairs of rows of which there are runs of the same seeds: by column their
    differences.

    A network that is trained with labels stands by its own answers, beside the other's layer.
    """
    by = {(one["row"], one["seed"]): one["accuracy"] for one in runs}
    found = []
    for first, second in ORDERINGS:
        pairs = [
            (by[first, seed], by[second, seed])
            for row, seed in by
            if row == first and (second, seed) in by
        ]
        if pairs:
            found.append((first, second, {c: _differences(pairs, c) for c in columns}))
    return found


def _differences(pairs: list[tuple[dict, dict]], column: str) -> list[float]:
    both = [[of.get(column, of.get(LABELS)) for of in pair] for pair in pairs]
    return [ours - theirs for ours, theirs in both if ours is not None and theirs is not None]


def layer_orders(runs: list[dict]) -> list[tuple[str, str, list[float]]]:
    """The paper's pairs of layers that both were judged: the differences in the published row."""
    judged = [run["accuracy"] for run in runs if run["row"] == "published"]
    found = []
    for first, second in LAYER_ORDERINGS:
        both = [(one[first], one[second]) for one in judged if first in one and second in one]
        if both:
            found.append((first, second, [ours - theirs for ours, theirs in both]))
    return found


def paper_layer(layer: str, teachers: str = "VGG") -> float:
    """The paper's accuracy on ESC-50."""
    (figure,) = (
        figure.accuracy
        for figure in paper.LAYERS
        if (figure.task, figure.layer, figure.teachers) == ("esc50", layer, teachers)
    )
    return figure


def verdict(differences: list[float]) -> str:
    """What runs say of an order that the paper has."""
    if len(differences) < 2:
        return "too few seeds"
    from scipy import stats

    mean = statistics.mean(differences)
    if len(set(differences)) > 1 and stats.ttest_1samp(differences, 0).pvalue >= LEVEL:
        return "not clear"
    return "shown" if mean > 0 else "the other way round" if mean < 0 else "not clear"


def spread(values: Sequence[float | None], sign: bool = False) -> str | None:
    """Mean and standard deviation in words; None for nothing."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    mean = statistics.mean(there)
    shown = f"{mean:+.1f}" if sign else f"{mean:.1f}"
    return f"{shown} ± {statistics.stdev(there):.1f}" if len(there) > 1 else shown
