"""What came out beside what the paper prints, as Markdown for people and JSON for programs."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json

from evaluation import paper, protocol
from evaluation.datasets import ESC_FOLDS
from evaluation.esc import Result
from schemas.waveform import SAMPLE_RATE, WAVEFORM_PEAK

TITLES = {"esc10": "ESC-10", "esc50": "ESC-50"}
PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")


def to_dict(result: Result) -> dict:
    """The result with all that made it, for JSON."""
    settings = dataclasses.asdict(result.settings)
    del settings["data"], settings["layers"]  # a path means nothing elsewhere; layers stand below
    return {
        **settings,
        "weights_sha256": result.weights_sha256,
        "depth": result.depth,
        "sample_rate": SAMPLE_RATE,
        "waveform_peak": WAVEFORM_PEAK,
        "clip_seconds": protocol.CLIP_SECONDS,
        "window_seconds": protocol.WINDOW_SECONDS,
        "classifier": {"name": "LinearSVC", **protocol.svm().get_params()},
        "clips": result.clips,
        "unreadable": result.unreadable,
        "layers": {
            layer: {
                "mean": result.mean(layer),
                "folds": [{**dataclasses.asdict(f), "accuracy": f.accuracy} for f in folds],
                "paper": _papers(result, layer),
            }
            for layer, folds in result.layers.items()
        },
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def to_json(result: Result) -> str:
    return json.dumps(to_dict(result), indent=1, ensure_ascii=False) + "\n"


def to_markdown(result: Result) -> str:
    """A page with our accuracies by layer and fold, the paper's beside them, and the settings."""
    about = to_dict(result)
    title = TITLES[result.settings.task]
    lines = [f"# {title}", "", "Accuracy in percent, by the published protocol.", ""]
    lines += _table(
        ["layer", *(f"fold {fold}" for fold in ESC_FOLDS), "mean", "paper, VGG teachers"],
        [
            [
                layer,
                *(f"{fold.accuracy:.2f}" for fold in folds),
                f"**{result.mean(layer):.2f}**",
                _figure(_papers(result, layer)),
            ]
            for layer, folds in result.layers.items()
        ],
    )
    lines += ["", f"What the paper prints for {title}:", ""]
    lines += _table(
        ["method", "accuracy"],
        [[f.method, f"{f.accuracy:.1f}"] for f in paper.results(result.settings.task)],
    )
    lines += ["", f"- Weights: `{about['weights']}`, SHA-256 `{about['weights_sha256']}`"]
    lines += [f"- Sound: {SAMPLE_RATE} Hz, ±{WAVEFORM_PEAK:g}, channels: {about['channels']}"]
    lines += [
        f"- Clips of {about['clip_seconds']} s, windows of {about['window_seconds']} s; "
        f"linear SVMs (C = {protocol.SVM_C}, L2, squared hinge, bias 1, one against the rest), "
        "decision values averaged over a clip's windows"
    ]
    lines += [f"- {', '.join(f'{name} {version}' for name, version in about['versions'].items())}"]
    lines += [f"- Clips: {result.clips}; unreadable, counted as wrong: {len(result.unreadable)}"]
    lines += [f"  - `{name}`: {message}" for name, message in result.unreadable.items()]
    return "\n".join(lines) + "\n"


def _papers(result: Result, layer: str) -> float | None:
    # The paper prints figures by layer for 8 layers alone; conv4 of 5 layers is another layer.
    return paper.by_layer(result.settings.task, layer) if result.depth == 8 else None


def _figure(value: float | None) -> str:
    return "not printed" if value is None else f"{value:.1f}"


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]
