"""What came out beside what the paper prints."""

from __future__ import annotations

import dataclasses

from evaluation import paper, protocol
from evaluation.classify.evaluating import Result
from evaluation.datasets import ESC_FOLDS
from evaluation.report import Column, Report, Table
from schemas.waveform import SAMPLE_RATE, WAVEFORM_PEAK

TITLES = {"esc10": "ESC-10", "esc50": "ESC-50"}


def report(result: Result) -> Report:
    """Our accuracies by layer and fold with the paper's beside them, and the paper's methods."""
    task, title = result.settings.task, TITLES[result.settings.task]
    layers = Table(
        "layers",
        "Accuracy in percent, by the published protocol",
        (
            Column("layer"),
            *(Column(f"fold {fold}", 2) for fold in ESC_FOLDS),
            Column("mean", 2),
            Column("paper, VGG teachers"),
        ),
        [
            (layer, *(f.accuracy for f in folds), result.mean(layer), papers(result, layer))
            for layer, folds in result.layers.items()
        ],
    )
    methods = Table(
        "paper",
        f"What the paper prints for {title}",
        (Column("method"), Column("accuracy")),
        [(figure.method, figure.accuracy) for figure in paper.results(task)],
    )
    return Report(
        name=task,
        title=title,
        tables=[layers, methods],
        notes=notes(result),
        settings={
            "task": task,
            "channels": result.settings.channels,
            "layers": list(result.layers),
        },
        weights={"name": result.settings.weights, "sha256": result.weights_sha256},
        details={
            "depth": result.depth,
            "clips": result.clips,
            "unreadable": result.unreadable,
            "classifier": {"name": "LinearSVC", **protocol.svm().get_params()},
            "layers": {
                layer: {
                    "mean": result.mean(layer),
                    "folds": [{**dataclasses.asdict(f), "accuracy": f.accuracy} for f in folds],
                    "paper": papers(result, layer),
                }
                for layer, folds in result.layers.items()
            },
        },
    )


def notes(result: Result) -> list[str]:
    """How it was measured, and which clips couldn't be read."""
    return [
        f"Sound: {SAMPLE_RATE} Hz, ±{WAVEFORM_PEAK:g}",
        f"Clips of {protocol.CLIP_SECONDS} s, windows of {protocol.WINDOW_SECONDS} s; linear SVMs "
        f"(C = {protocol.SVM_C}, L2, squared hinge, bias 1, one against the rest), decision values "
        "averaged over a clip's windows",
        f"Clips: {result.clips}; unreadable, counted as wrong: {len(result.unreadable)}",
        *(f"Unreadable: {name}: {message}" for name, message in result.unreadable.items()),
    ]


def papers(result: Result, layer: str) -> float | None:
    """The paper's figure for a layer; it prints some for 8 layers alone (conv4 of 5 is another)."""
    return paper.by_layer(result.settings.task, layer) if result.depth == 8 else None
