"""ESC-10 and ESC-50, start to finish: sounds, features of all layers in one pass, SVMs by fold."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.progress import Progress

import media
import soundnet
from evaluation import progress, protocol
from evaluation.datasets import ESC_FOLDS, LabelledClip, read_esc
from evaluation.errors import DatasetError
from evaluation.features import Features, SoundFile, default_cache
from evaluation.machine import cores
from evaluation.protocol import FoldResult

DEFAULT_LAYERS = {
    8: ("pool5", "conv6", "conv7"),
    5: ("pool3", "conv4"),
    18: ("pool5", "conv6", "conv7"),
}
"""By the network's depth."""


@dataclass(frozen=True)
class Settings:
    """What to judge.

    Attributes:
        task: `esc10` or `esc50`.
        data: the folder of ESC-50 (or of its part ESC-10).
        weights: see `soundnet.load_model`.
        layers: names as `TrainedSoundNet.embed` takes them; () for `DEFAULT_LAYERS`.
        channels: "downmix", or "first" as the authors' loader had it.
        cache: where features are kept.
    """

    task: str
    data: Path
    weights: str = "published"
    layers: tuple[str, ...] = ()
    channels: str = "downmix"
    cache: Path = field(default_factory=default_cache)


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
    features = Features(model, layers, settings.cache, protocol.CLIP_SECONDS)
    with progress.bars() as bars:
        values, unreadable = extract(features, clips, settings.channels, bars)
        if len(unreadable) == len(clips):
            raise DatasetError(
                f"none of {len(clips)} clips can be read; are they in {settings.data / 'audio'}? "
                f"The first: {clips[0].path.name}: {unreadable[clips[0].path.name]}"
            )
        labels, folds = [clip.label for clip in clips], [clip.fold for clip in clips]
        bar = bars.add_task("folds", total=len(layers) * len(ESC_FOLDS))

        def fold_of(work: tuple[str, int]) -> FoldResult:
            layer, fold = work
            result = protocol.evaluate_fold(values[layer], labels, folds, fold)
            bars.advance(bar)
            return result

        with ThreadPoolExecutor(cores()) as threads:  # the SVMs leave Python's lock
            results = list(threads.map(fold_of, itertools.product(layers, ESC_FOLDS)))
    by_layer = {
        layer: results[i * len(ESC_FOLDS) : (i + 1) * len(ESC_FOLDS)]
        for i, layer in enumerate(layers)
    }
    depth = model.network.depth
    return Result(settings, model.sha256, depth, len(clips), by_layer, unreadable)


def extract(
    features: Features, clips: list[LabelledClip], channels: str, bars: Progress
) -> tuple[dict[str, list[np.ndarray | None]], dict[str, str]]:
    """What the layers say of every clip, and which clips couldn't be read.

    Returns:
        Per layer, clip by clip, float32 (frames, channels), None for an unreadable one; and per
        unreadable clip its file and ffmpeg's message.
    """
    values: dict[str, list[np.ndarray | None]] = {layer: [] for layer in features.layers}
    unreadable = {}
    bar = bars.add_task("clips", total=len(clips))
    sounds = (SoundFile(clip.path, channels) for clip in clips)
    for clip, found in zip(clips, features.of(sounds, lambda: bars.advance(bar)), strict=True):
        if isinstance(found, media.MediaError):
            unreadable[clip.path.name] = str(found)
            found = dict.fromkeys(features.layers)
        for layer in features.layers:
            values[layer].append(found[layer])
    return values, unreadable
