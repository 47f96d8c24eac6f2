"""ESC-10 and ESC-50, start to finish: sounds, features of all layers in one pass, SVMs by fold."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import media
import soundnet
from evaluation import protocol
from evaluation.datasets import ESC_FOLDS, DatasetError, LabelledClip, read_esc
from evaluation.protocol import FoldResult

DEFAULT_LAYERS = {
    8: ("pool5", "conv6", "conv7"),
    5: ("pool3", "conv4"),
    18: ("pool5", "conv6", "conv7"),
}
"""By the network's depth."""

THREADS = 2
"""Clips decoded, and folds trained, at a time; both leave Python's lock."""


@dataclass(frozen=True)
class Settings:
    """What to judge.

    Attributes:
        task: `esc10` or `esc50`.
        data: the folder of ESC-50 (or of its part ESC-10).
        weights: see `soundnet.load_model`.
        layers: names as `TrainedSoundNet.embed` takes them; () for `DEFAULT_LAYERS`.
        channels: "downmix", or "first" as the authors' loader had it.
    """

    task: str
    data: Path
    weights: str = "published"
    layers: tuple[str, ...] = ()
    channels: str = "downmix"


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        weights_sha256: of the network's weights.
        depth: of the network.
        clips: in the data set.
        layers: per layer its folds.
        unreadable: per clip that couldn't be read, why.
    """

    settings: Settings
    weights_sha256: str
    depth: int
    clips: int
    layers: dict[str, list[FoldResult]]
    unreadable: dict[str, str] = field(default_factory=dict)

    def mean(self, layer: str) -> float:
        """Accuracy of a layer in percent: the mean over the folds."""
        return float(np.mean([fold.accuracy for fold in self.layers[layer]]))


def evaluate(settings: Settings) -> Result:
    """Judge a network; shows its progress on stderr.

    Raises:
        DatasetError, soundnet.WeightsError: what is to be judged can't be used.
        ValueError: the network has no such layer, or a classifier didn't converge.
    """
    clips = read_esc(settings.data, settings.task)
    model = soundnet.load_model(settings.weights)
    layers = tuple(dict.fromkeys(settings.layers)) or DEFAULT_LAYERS[model.network.depth]
    for layer in layers:
        if layer not in model.layers:
            raise ValueError(f"no layer {layer!r}; choose among {', '.join(model.layers)}")
    with Progress(
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as progress:
        features, unreadable = extract(model, clips, layers, settings.channels, progress)
        if len(unreadable) == len(clips):
            raise DatasetError(
                f"none of {len(clips)} clips can be read; are they in {settings.data / 'audio'}? "
                f"The first: {clips[0].path.name}: {unreadable[clips[0].path.name]}"
            )
        labels, folds = [clip.label for clip in clips], [clip.fold for clip in clips]
        bar = progress.add_task("folds", total=len(layers) * len(ESC_FOLDS))

        def fold_of(work: tuple[str, int]) -> FoldResult:
            layer, fold = work
            result = protocol.evaluate_fold(features[layer], labels, folds, fold)
            progress.advance(bar)
            return result

        with ThreadPoolExecutor(THREADS) as threads:
            results = list(threads.map(fold_of, itertools.product(layers, ESC_FOLDS)))
    by_layer = {
        layer: results[i * len(ESC_FOLDS) : (i + 1) * len(ESC_FOLDS)]
        for i, layer in enumerate(layers)
    }
    depth = model.network.depth
    return Result(settings, model.sha256, depth, len(clips), by_layer, unreadable)


def extract(
    model: soundnet.TrainedSoundNet,
    clips: list[LabelledClip],
    layers: tuple[str, ...],
    channels: str,
    progress: Progress,
) -> tuple[dict[str, list[np.ndarray | None]], dict[str, str]]:
    """What the layers say of every clip, and which clips couldn't be read.

    Returns:
        Per layer, clip by clip, float32 (frames, channels), None for an unreadable one; and per
        unreadable clip its file and ffmpeg's message.
    """
    features: dict[str, list[np.ndarray | None]] = {layer: [] for layer in layers}
    unreadable = {}
    bar = progress.add_task("clips", total=len(clips))
    for clip, waveform in _waveforms(clips, channels):
        if isinstance(waveform, media.MediaError):
            unreadable[clip.path.name] = str(waveform)
            outputs = dict.fromkeys(layers)
        else:
            outputs = model.activations([protocol.fixed_length(waveform)], layers)
        for layer in layers:
            features[layer].append(outputs[layer])
        progress.advance(bar)
    return features, unreadable


def _waveforms(
    clips: list[LabelledClip], channels: str
) -> Iterator[tuple[LabelledClip, np.ndarray | media.MediaError]]:
    """Each clip with its waveform, or with what is wrong with it; a few decoded ahead."""

    def read(clip: LabelledClip) -> np.ndarray | media.MediaError:
        try:
            return media.load_waveform(clip.path, channels=channels)
        except media.MediaError as error:
            return error

    with ThreadPoolExecutor(THREADS) as threads:
        for at in range(0, len(clips), 32):
            batch = clips[at : at + 32]
            yield from zip(batch, threads.map(read, batch), strict=True)
