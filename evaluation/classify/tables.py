"""What came out beside what the paper prints, and which classes were taken for which."""

from __future__ import annotations

import dataclasses

import numpy as np

from evaluation import paper, protocol
from evaluation.classify import better
from evaluation.classify.evaluating import BETTER, PUBLISHED, TOGETHER, Result
from evaluation.report import Cell, Column, Report, Table
from schemas.waveform import SAMPLE_RATE, WAVEFORM_PEAK

UNREADABLE = "(unreadable)"

MOST_PRINTED = 20
"""A confusion matrix of more classes is in the files and the page alone."""

TITLES = {
    PUBLISHED: "Accuracy in percent, by the published protocol",
    BETTER: "Accuracy in percent, by a better protocol",
}


def report(result: Result) -> Report:
    """Accuracies by protocol, layer and fold; all beside the paper's; by class; confusions."""
    dataset, settings = result.dataset, result.settings
    tables = [_layers(result, name) for name in result.judged]
    tables.append(_methods(result))
    tables += [_classes(result, name) for name in result.judged]
    tables += [_confusion(result, name) for name in result.judged]
    return Report(
        name=settings.task,
        title=dataset.title,
        tables=tables,
        notes=_notes(result),
        settings={
            "task": settings.task,
            "channels": settings.channels,
            "seconds": dataset.lengths.clip,
            "window": dataset.lengths.window,
            "layers": [row for row in next(iter(result.judged.values())) if row != TOGETHER],
        },
        weights={"name": settings.weights, "sha256": result.weights_sha256},
        details={
            "depth": result.depth,
            "clips": len(dataset.clips),
            "classes": dataset.classes,
            "unreadable": result.unreadable,
            "protocols": {
                name: {row: _details(result, name, row) for row in rows}
                for name, rows in result.judged.items()
            },
        },
    )


def shown_row(result: Result, name: str) -> str:
    """The row whose confusions are shown: pool5, the paper's choice, or all layers together."""
    rows = result.judged[name]
    return next((row for row in (TOGETHER, "pool5") if row in rows), next(iter(rows)))


def confusion(result: Result, name: str, row: str) -> np.ndarray:
    """int (classes, classes + 1): how many clips of a class (row) were taken for which (column); in
    the last column those that couldn't be read."""
    from sklearn.metrics import confusion_matrix

    dataset, folds = result.dataset, result.judged[name][row]
    said = {place: of for fold in folds for place, of in fold.said.items()}
    tested = [i for i, clip in enumerate(dataset.clips) if clip.fold in dataset.tested]
    return confusion_matrix(
        [dataset.clips[i].label for i in tested],
        [said.get(i, UNREADABLE) for i in tested],
        labels=[*dataset.classes, UNREADABLE],
    )[:-1]


def recalls(counts: np.ndarray) -> list[float | None]:
    """Percent of each class's clips that were named rightly; None for a class without any."""
    return [
        float(100 * row[place] / row.sum()) if row.sum() else None
        for place, row in enumerate(counts)
    ]


def ranking(result: Result) -> list[tuple[str, float, str]]:
    """(method, accuracy in percent, who found it): ours and the paper's, best first."""
    tested = [clip.label for clip in result.dataset.clips if clip.fold in result.dataset.tested]
    most = max(tested.count(name) for name in set(tested))
    found = [
        (f"{row}, {name} protocol", result.mean(row, name), "here")
        for name, rows in result.judged.items()
        for row in rows
    ]
    found += [(f.method, f.accuracy, "the paper") for f in paper.results(result.settings.task)]
    found.append(("always the most frequent class", 100 * most / len(tested), "counted"))
    return sorted(found, key=lambda one: -one[1])


def _layers(result: Result, name: str) -> Table:
    rows = result.judged[name]
    columns = [Column("layer"), Column("mean", 2), Column("deviation", 2)]
    columns += [Column(f"fold {fold}", 2) for fold in result.dataset.tested]
    # The paper prints figures by layer for 8 layers alone; conv4 of 5 layers is another layer.
    teachers = paper.TEACHERS if name == PUBLISHED and result.depth == 8 else ()
    papers = {
        of: [paper.by_layer(result.settings.task, row, of) for row in rows] for of in teachers
    }
    papers = {of: figures for of, figures in papers.items() if any(figures)}
    columns += [Column(f"paper, {of} teachers") for of in papers]
    cells: list[tuple[Cell, ...]] = [
        (
            row,
            result.mean(row, name),
            result.deviation(row, name),
            *(fold.accuracy for fold in folds),
            *(figures[place] for figures in papers.values()),
        )
        for place, (row, folds) in enumerate(rows.items())
    ]
    note = "Deviation: standard, of the folds." if len(result.dataset.tested) > 1 else ""
    return Table(name, TITLES[name], tuple(columns), cells, note)


def _methods(result: Result) -> Table:
    columns = (Column("method"), Column("accuracy", 2), Column("found by"))
    note = "The paper's SoundNet with 74.2 on ESC-50 had AlexNet as its teachers."
    return Table(
        "methods",
        "Beside the paper's, best first",
        columns,
        ranking(result),
        note if result.settings.task == "esc50" else "",
    )


def _classes(result: Result, name: str) -> Table:
    rows = list(result.judged[name])
    counts = {row: confusion(result, name, row) for row in rows}
    shares = [recalls(counts[row]) for row in rows]
    return Table(
        f"classes-{name}",
        f"Percent of each class's clips named rightly, {name} protocol",
        (Column("class"), Column("clips"), *(Column(row, 1) for row in rows)),
        [
            (label, int(counts[rows[0]][place].sum()), *(of[place] for of in shares))
            for place, label in enumerate(result.dataset.classes)
        ],
    )


def _confusion(result: Result, name: str) -> Table:
    row = shown_row(result, name)
    counts, classes = confusion(result, name, row), result.dataset.classes
    columns = [*classes, UNREADABLE] if counts[:, -1].any() else classes
    return Table(
        f"confusion-{name}",
        f"How many clips of a class (row) were taken for which (column): {row}, {name} protocol",
        (Column("class"), *map(Column, columns)),
        [(label, *map(int, of[: len(columns)])) for label, of in zip(classes, counts, strict=True)],
        printed=len(classes) <= MOST_PRINTED,
    )


def _details(result: Result, name: str, row: str) -> dict[str, object]:
    dataset = result.dataset
    folds = []
    for fold in result.judged[name][row]:
        about = dataclasses.asdict(fold) | {"accuracy": fold.accuracy}
        about["said"] = {dataset.clips[i].name: of for i, of in fold.said.items()}
        folds.append(about)
    return {
        "mean": result.mean(row, name),
        "deviation": result.deviation(row, name),
        "folds": folds,
        "confusion": confusion(result, name, row).tolist(),
    }


def _notes(result: Result) -> list[str]:
    """How it was measured, and which clips couldn't be read."""
    dataset, lengths = result.dataset, result.dataset.lengths
    notes = [
        f"{len(dataset.clips)} clips of {len(dataset.classes)} classes. {dataset.about}",
        f"Sound: {SAMPLE_RATE} Hz, ±{WAVEFORM_PEAK:g}; each clip repeated and cut to "
        f"{lengths.clip:g} s",
    ]
    if PUBLISHED in result.judged:
        notes.append(
            f"Published protocol: windows of {lengths.window:g} s, flattened; linear SVMs (C = "
            f"{protocol.SVM_C}, L2, squared hinge, bias 1, one against the rest), decision values "
            "averaged over a clip's windows"
        )
    if BETTER in result.judged:
        notes.append(
            "Better protocol: mean and deviation over time, standardised; linear SVMs, C of "
            f"{', '.join(f'{c:g}' for c in better.CHOICES_OF_C)} by cross-validation on the "
            "training folds alone"
        )
    notes.append(f"Unreadable, counted as wrong: {len(result.unreadable)}")
    return notes + [f"Unreadable: {name}: {why}" for name, why in result.unreadable.items()]
