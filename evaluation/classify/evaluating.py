"""A data set, start to finish: sounds, features of all layers in one pass, SVMs by fold."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.progress import Progress
from threadpoolctl import threadpool_limits

import media
import soundnet
from evaluation import datasets, progress, protocol
from evaluation.classify import better, labelled
from evaluation.datasets import Dataset
from evaluation.errors import DatasetError
from evaluation.features import Features, SoundFile, default_cache
from evaluation.machine import cores, memory_bytes
from evaluation.protocol import FoldResult

SOUNDNET8_LAYERS = ("conv4", "conv5", "pool5", "conv6", "conv7", "conv8")
DEFAULT_LAYERS = {8: SOUNDNET8_LAYERS, 5: ("pool3", "conv4", "conv5"), 18: SOUNDNET8_LAYERS}
"""By the network's depth; of 8 those of the paper's table."""

PUBLISHED, BETTER = "published", "better"
PROTOCOLS = (PUBLISHED, BETTER)

TOGETHER = "hidden layers together"
"""The row of the better protocol for which their values stand one after the other. Heads have no
part in it: they are linear functions of the last hidden layer, and tell a linear SVM nothing new.
"""

MEMORY_SHARE = 0.5
"""Of the machine's memory, that the folds judged at the same time may take."""


@dataclass(frozen=True)
class Settings:
    """What to judge, and how.

    Attributes:
        task: `esc10`, `esc50`, `dcase`, `urbansound8k` or `folder`.
        data: the data set's folder; of `folder` also a CSV list.
        weights: see `soundnet.load_model`.
        layers: names as `TrainedSoundNet.embed` takes them, or `conv8` for all heads, one after the
            other; () for `DEFAULT_LAYERS`.
        channels: "downmix", or "first" as the authors' loader had it.
        cache: where features are kept.
        protocols: of `PROTOCOLS`.
        audio, folds, lengths: of `folder`, see `labelled.read`.
    """

    task: str
    data: Path
    weights: str = "published"
    layers: tuple[str, ...] = ()
    channels: str = "downmix"
    cache: Path = field(default_factory=default_cache)
    protocols: tuple[str, ...] = (PUBLISHED,)
    audio: Path | None = None
    folds: int = 5
    lengths: protocol.Lengths = protocol.ESC


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        weights_sha256: of the network's weights.
        depth: of the network.
        judged: by protocol and row (a layer, or `TOGETHER`) the folds.
        unreadable: by name of a clip that couldn't be read, why.
    """

    settings: Settings
    dataset: Dataset
    weights_sha256: str
    depth: int
    judged: dict[str, dict[str, list[FoldResult]]]
    unreadable: dict[str, str] = field(default_factory=dict)

    def mean(self, row: str, protocol: str = PUBLISHED) -> float:
        """Accuracy in percent: the mean over the folds."""
        return float(np.mean([fold.accuracy for fold in self.judged[protocol][row]]))

    def deviation(self, row: str, protocol: str = PUBLISHED) -> float | None:
        """The standard deviation of the folds' accuracies (n - 1); None of a single one."""
        accuracies = [fold.accuracy for fold in self.judged[protocol][row]]
        return float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None


def read(settings: Settings) -> Dataset:
    """The data set that is meant.

    Raises:
        DatasetError, SchemaError: it can't be used.
    """
    task, data = settings.task, settings.data
    if task == "dcase":
        clips = datasets.read_dcase(data)
        about = "One part to learn from, one to be tested with."
        return Dataset(task, "DCASE 2013 scenes", clips, ("test",), protocol.SCENES, about)
    if task == "urbansound8k":
        clips = datasets.read_urbansound8k(data)
        return Dataset(task, "UrbanSound8K", clips, datasets.URBANSOUND8K_FOLDS)
    if task == "folder":
        return labelled.read(data, settings.audio, settings.folds, settings.lengths)
    title = {"esc10": "ESC-10", "esc50": "ESC-50"}[task]
    return Dataset(task, title, datasets.read_esc(data, task), datasets.ESC_FOLDS)


def evaluate(settings: Settings) -> Result:
    """Judge a network; shows its progress on stderr.

    Raises:
        DatasetError, SchemaError, soundnet.WeightsError: what is to be judged can't be used.
        ValueError: the network has no such layer, or a classifier didn't converge.
    """
    dataset = read(settings)
    clips = dataset.clips
    model = soundnet.load_model(settings.weights)
    layers = tuple(dict.fromkeys(settings.layers)) or DEFAULT_LAYERS[model.network.depth]
    features = Features(model, layers, settings.cache, dataset.lengths.clip)
    with progress.bars() as bars:
        values, unreadable = extract(features, dataset, settings.channels, bars)
        if len(unreadable) == len(clips):
            raise DatasetError(
                f"none of {len(clips)} clips can be read; are they in {clips[0].path.parent}? The "
                f"first: {clips[0].name}: {unreadable[clips[0].name]}"
            )
        judged = {}
        for name in settings.protocols:
            if name == PUBLISHED:
                judged[name] = published_rows(values, dataset, bars)
            else:
                hidden = model.network.architecture.names[:-1]
                together = [layer for layer in layers if layer in hidden]
                judged[name] = better_rows(values, dataset, bars, together)
    return Result(settings, dataset, model.sha256, model.network.depth, judged, unreadable)


def extract(
    features: Features, dataset: Dataset, channels: str, bars: Progress
) -> tuple[dict[str, list[np.ndarray | None]], dict[str, str]]:
    """What the layers say of every clip, and which clips couldn't be read.

    Returns:
        Per layer, clip by clip, float32 (frames, channels), None for an unreadable one; and per
        unreadable clip its name and ffmpeg's message.
    """
    values: dict[str, list[np.ndarray | None]] = {layer: [] for layer in features.layers}
    unreadable, clips = {}, dataset.clips
    bar = bars.add_task("clips", total=len(clips))
    sounds = (SoundFile(clip.path, channels) for clip in clips)
    for clip, found in zip(clips, features.of(sounds, lambda: bars.advance(bar)), strict=True):
        heard: dict[str, np.ndarray] = {}
        if isinstance(found, media.MediaError):
            unreadable[clip.name] = str(found)
        else:
            heard = found
        for layer in features.layers:
            values[layer].append(heard.get(layer))
    return values, unreadable


def published_rows(
    values: dict[str, list[np.ndarray | None]], dataset: Dataset, bars: Progress
) -> dict[str, list[FoldResult]]:
    """By layer the folds, judged by the paper's protocol."""

    def fold_of(layer: str, fold: int | str) -> FoldResult:
        return protocol.evaluate_fold(values[layer], *_known(dataset), fold, dataset.lengths)

    sizes = [one.shape for of in values.values() for one in of if one is not None]
    frames, channels = max(sizes)
    # Of each clip its frames, and decision values of its windows a handful of times.
    job = len(dataset.clips) * 4 * frames * (channels + 10 * len(dataset.classes))
    return _judge(PUBLISHED, fold_of, tuple(values), dataset, bars, job)


def better_rows(
    values: dict[str, list[np.ndarray | None]],
    dataset: Dataset,
    bars: Progress,
    together: list[str],
) -> dict[str, list[FoldResult]]:
    """By layer, and for those of `together` in one, the folds, judged by `better`."""
    pooled = {
        layer: [None if one is None else better.pool(one) for one in of]
        for layer, of in values.items()
    }
    sizes = {
        layer: tuple(len(one) for one in of if one is not None)[:1] for layer, of in pooled.items()
    }
    if len(together) > 1:
        pooled[TOGETHER] = [
            None if clip[0] is None else np.concatenate(clip)
            for clip in zip(*(pooled[layer] for layer in together), strict=True)
        ]
        sizes[TOGETHER] = sum((sizes[layer] for layer in together), ())

    def fold_of(row: str, fold: int | str) -> FoldResult:
        return better.evaluate_fold(pooled[row], *_known(dataset), fold, sizes[row])

    job = len(dataset.clips) * 32 * max(map(sum, sizes.values()))  # float64, a few times
    return _judge(BETTER, fold_of, tuple(pooled), dataset, bars, job)


def _known(dataset: Dataset) -> tuple[list[str], list[int | str]]:
    """Labels and folds, clip by clip."""
    return [clip.label for clip in dataset.clips], [clip.fold for clip in dataset.clips]


def _judge(
    name: str,
    fold_of: Callable[[str, int | str], FoldResult],
    rows: tuple[str, ...],
    dataset: Dataset,
    bars: Progress,
    job_bytes: int,
) -> dict[str, list[FoldResult]]:
    """All rows and folds, as many at a time as there are cores and memory for.

    Args:
        job_bytes: that one of them takes.
    """
    work = list(itertools.product(rows, dataset.tested))
    bar = bars.add_task(f"folds, {name}", total=len(work))

    def do(job: tuple[str, int | str]) -> FoldResult:
        found = fold_of(*job)
        bars.advance(bar)
        return found

    room = int(MEMORY_SHARE * memory_bytes() / job_bytes)
    at_once = max(1, min(cores(), room))
    # What takes time leaves Python's lock. Its matrix products have the cores that are left.
    with threadpool_limits(cores() // at_once), ThreadPoolExecutor(at_once) as threads:
        found = list(threads.map(do, work))
    number = len(dataset.tested)
    return {row: found[i * number : (i + 1) * number] for i, row in enumerate(rows)}
