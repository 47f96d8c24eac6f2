"""ESC-10 or ESC-50 by the methods that came before SoundNet, by the data set's own folds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import media
import soundnet
from evaluation import progress, protocol
from evaluation.baselines import cepstra
from evaluation.datasets import ESC_FOLDS, LabelledClip, read_esc
from evaluation.errors import DatasetError
from evaluation.features import Features, SoundFile, default_cache
from evaluation.machine import cores
from evaluation.protocol import FoldResult
from trainer.autoencoder.network import Autoencoder
from trainer.load import load

SEED = 20150420
TREES = 500
SVM_C = 0.1
"""These as in Piczak's notebook, for whatever isn't said in his paper."""

AUTOENCODER = "autoencoder"


def svm():
    """One against one, the features as they are."""
    from sklearn.svm import SVC

    return SVC(C=SVM_C, kernel="linear", random_state=SEED)


def random_forest():
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(TREES, random_state=SEED, n_jobs=cores())


CLASSIFIERS = {"mfcc_svm": svm, "random_forest": random_forest}
"""By the name of a method the classifier that it puts on the spectra."""

METHODS = (*CLASSIFIERS, AUTOENCODER)


@dataclass(frozen=True)
class Settings:
    """What to judge.

    Attributes:
        task: `esc10` or `esc50`.
        data: the folder of ESC-50 (or of its part ESC-10).
        methods: of `METHODS`.
        autoencoder: the `.keras` file that `python -m trainer.task --task autoencoder` wrote, for
            that method.
        channels: "downmix", or "first".
        cache: where an autoencoder's features are kept.
    """

    task: str
    data: Path
    methods: tuple[str, ...] = tuple(CLASSIFIERS)
    autoencoder: Path | None = None
    channels: str = "downmix"
    cache: Path = field(default_factory=default_cache)

    def __post_init__(self) -> None:
        if AUTOENCODER in self.methods and not self.autoencoder:
            raise ValueError(
                "the method autoencoder needs one that was trained: --autoencoder FILE.keras; "
                "`python -m trainer.task --task autoencoder` trains it on a data set"
            )


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        clips: in the data set.
        methods: per method its folds.
        bottleneck: the autoencoder's layer that was judged; "" where none was.
        weights_sha256: the autoencoder's; "" where none was judged.
        unreadable: per clip that couldn't be read, why.
    """

    settings: Settings
    clips: int
    methods: dict[str, list[FoldResult]]
    bottleneck: str = ""
    weights_sha256: str = ""
    unreadable: dict[str, str] = field(default_factory=dict)

    def mean(self, method: str) -> float:
        """Accuracy of a method in percent: the mean over the folds."""
        return float(np.mean([fold.accuracy for fold in self.methods[method]]))


def judge(settings: Settings) -> Result:
    """Run the methods; shows its progress on stderr.

    Raises:
        DatasetError: the data set can't be used.
        ValueError: there is no such autoencoder, or its classifier didn't converge.
    """
    clips = read_esc(settings.data, settings.task)
    labels, folds = [clip.label for clip in clips], [clip.fold for clip in clips]
    model = None
    if AUTOENCODER in settings.methods and settings.autoencoder:
        network = load(settings.autoencoder, Autoencoder)
        model = soundnet.TrainedSoundNet(network, str(settings.autoencoder))
    unreadable: dict[str, str] = {}
    methods: dict[str, list[FoldResult]] = {}
    with progress.bars() as bars:

        def gather(
            what: str, found: Iterable[np.ndarray | media.MediaError]
        ) -> list[np.ndarray | None]:
            """The clips' features; None for one that can't be read, which is noted."""
            bar = bars.add_task(what, total=len(clips))
            values: list[np.ndarray | None] = []
            for clip, features in zip(clips, found, strict=True):
                if isinstance(features, media.MediaError):
                    unreadable[clip.name] = str(features)
                    values.append(None)
                else:
                    values.append(features)
                bars.advance(bar)
            if all(features is None for features in values):
                raise DatasetError(
                    f"none of {len(clips)} clips can be read; are they in "
                    f"{settings.data / 'audio'}? The first: {unreadable[clips[0].name]}"
                )
            return values

        def by_fold(method: str, evaluate: Callable[[int], FoldResult]) -> None:
            bar, methods[method] = bars.add_task(f"{method}, folds", total=len(ESC_FOLDS)), []
            for fold in ESC_FOLDS:
                methods[method].append(evaluate(fold))
                bars.advance(bar)

        spectra: list[np.ndarray | None] = []
        for method in settings.methods:
            if model and method == AUTOENCODER:
                said = gather(method, _said(model, clips, settings))
                by_fold(method, partial(protocol.evaluate_fold, said, labels, folds))
            else:
                spectra = spectra or gather("spectra", _spectra(clips, settings.channels))
                classifier = CLASSIFIERS[method]()
                by_fold(method, partial(evaluate_fold, classifier, spectra, labels, folds))
    return Result(
        settings,
        len(clips),
        methods,
        bottleneck=model.network.bottleneck if model else "",
        weights_sha256=model.sha256 if model else "",
        unreadable=unreadable,
    )


def evaluate_fold(
    classifier: Any,
    features: Sequence[np.ndarray | None],
    labels: Sequence[str],
    folds: Sequence[int | str],
    fold: int,
) -> FoldResult:
    """Train a classifier on all other folds, test it on one.

    Args:
        classifier: one of scikit-learn's.
        features: per clip (values,), None where it couldn't be read: such a clip can't train, and
            counts as wrong in its test.
    """
    train, test = protocol.split(features, folds, fold)
    classifier.fit([*train.values()], [labels[at] for at in train])
    said = classifier.predict([*test.values()]) if test else []
    return protocol.result(dict(zip(test, said, strict=True)), labels, folds, fold)


def _spectra(clips: list[LabelledClip], channels: str) -> Iterator[np.ndarray | media.MediaError]:
    """`cepstra.describe` of each clip."""

    def describe(clip: LabelledClip) -> np.ndarray | media.MediaError:
        try:
            return cepstra.describe(media.load_waveform(clip.path, channels=channels))
        except media.MediaError as error:
            return error

    with ThreadPoolExecutor(cores()) as threads:
        yield from threads.map(describe, clips)


def _said(
    model: soundnet.TrainedSoundNet, clips: list[LabelledClip], settings: Settings
) -> Iterator[np.ndarray | media.MediaError]:
    """What an autoencoder's bottleneck says of each clip, of the published length."""
    layer = model.network.bottleneck
    features = Features(model, (layer,), settings.cache, protocol.CLIP_SECONDS)
    sounds = (SoundFile(clip.path, settings.channels) for clip in clips)
    for found in features.of(sounds):
        yield found if isinstance(found, media.MediaError) else found[layer]
