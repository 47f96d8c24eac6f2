"""What came out beside what the paper prints."""

from __future__ import annotations

from evaluation import paper, protocol
from evaluation.baselines import cepstra, judging
from evaluation.baselines.judging import AUTOENCODER, Result
from evaluation.datasets import ESC_CLASSES, ESC_FOLDS
from evaluation.report import Cell, Column, Report, Table
from schemas.waveform import SAMPLE_RATE

TITLES = {"esc10": "ESC-10", "esc50": "ESC-50"}

NAMES = {
    "mfcc_svm": "SVM-MFCC",
    "random_forest": "random forest",
    AUTOENCODER: "convolutional autoencoder",
}
"""By method its name in the paper's table."""


def report(result: Result) -> Report:
    """Chance; by method our accuracies and the paper's; and what the paper alone has."""
    task, autoencoder = result.settings.task, result.settings.autoencoder
    papers = {figure.method: figure.accuracy for figure in paper.results(task)}
    nothing: tuple[float | None, ...] = (None,) * len(ESC_FOLDS)
    ours = {NAMES[method]: method for method in result.methods}
    rows: list[tuple[Cell, ...]] = [("chance", *nothing, 100 / ESC_CLASSES[task], None)]
    for name, figure in papers.items():
        if name in ours:
            folds = (fold.accuracy for fold in result.methods[ours[name]])
            rows.append((name, *folds, result.mean(ours[name]), figure))
        else:
            rows.append((name, *nothing, None, figure))
    table = Table(
        "baselines",
        "Accuracy in percent",
        (
            Column("method"),
            *(Column(f"fold {fold}", 2) for fold in ESC_FOLDS),
            Column("mean", 2),
            Column("paper"),
        ),
        rows,
        note="SoundNet's own figures here: `python -m evaluation " + task + "`.",
    )
    return Report(
        name="baselines",
        title=f"{TITLES[task]}: what SoundNet is held against",
        tables=[table],
        notes=notes(result),
        settings={
            "task": task,
            "channels": result.settings.channels,
            "methods": list(result.methods),
        },
        weights={"name": autoencoder.name, "sha256": result.weights_sha256}
        if autoencoder and result.weights_sha256
        else {},
        details={
            "clips": result.clips,
            "unreadable": result.unreadable,
            "bottleneck": result.bottleneck,
            "methods": {
                method: {
                    "mean": result.mean(method),
                    "folds": [
                        {
                            "fold": fold.fold,
                            "correct": fold.correct,
                            "clips": fold.clips,
                            "accuracy": fold.accuracy,
                        }
                        for fold in folds
                    ],
                    "paper": papers[NAMES[method]],
                }
                for method, folds in result.methods.items()
            },
        },
    )


def notes(result: Result) -> list[str]:
    """How it was measured, and which clips couldn't be read."""
    found = []
    if set(result.methods) - {AUTOENCODER}:
        found.append(
            f"Spectra: means and deviations of {cepstra.COEFFICIENTS - 1} MFCCs and of the zero "
            f"crossings, windows of {cepstra.WINDOW} and hops of {cepstra.HOP} samples at "
            f"{SAMPLE_RATE} Hz (the figures to compare with were made at 44,100 Hz); SVM: linear, "
            f"C = {judging.SVM_C}; random forest: {judging.TREES} trees"
        )
    if AUTOENCODER in result.methods:
        found.append(
            f"Autoencoder: at {result.bottleneck}, by SoundNet's protocol: clips of "
            f"{protocol.CLIP_SECONDS} s, windows of {protocol.WINDOW_SECONDS} s, linear SVMs "
            f"(C = {protocol.SVM_C}). The paper's was trained on two million videos for days"
        )
    found.append(f"Clips: {result.clips}; unreadable, counted as wrong: {len(result.unreadable)}")
    return [*found, *(f"Unreadable: {name}: {why}" for name, why in result.unreadable.items())]
