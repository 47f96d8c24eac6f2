"""One pass over a data set's clips: each unit's greatest moments, and what it agrees with."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

import soundnet
from evaluation.clips import Clips
from evaluation.errors import DatasetError
from evaluation.hears.moments import Moments
from evaluation.hears.names import Agreement, Name
from evaluation.progress import bars
from schemas.clip import ClipRecord
from schemas.waveform import SAMPLE_RATE, pcm_to_waveform
from soundnet.model import TRAINING_CLIP, Embedding
from trainer.network import tile_to

NAMES = 3
"""Classes that are told of a unit, per teacher."""


@dataclass(frozen=True)
class Settings:
    """What to listen with, and to.

    Attributes:
        data: a data set that `python -m pipeline` made, local or gs://.
        weights: see `soundnet.load_model`.
        layers: `conv1` ..., `pool1` ..., and heads; () for all convolutions and heads.
        top: moments of a unit.
        shards: read only so many shards of each split; None for all.
    """

    data: str
    weights: str = "published"
    layers: tuple[str, ...] = ()
    top: int = 9
    shards: int | None = None


@dataclass(frozen=True)
class Layer:
    """What was found out about the units of a layer, or the classes of a head.

    Attributes:
        name: `conv7`, or the head's.
        classes: of a head; () for a layer's units.
        hop, hears: samples from one output to the next, and that one output hears.
        first: centre of what the first output hears, in samples; may be negative.
        moments: of each unit.
        names: by teacher and unit the classes that it agrees with most; {} for a head.
        chance: by teacher the correlation that 99 of 100 units don't pass by chance.
    """

    name: str
    classes: tuple[str, ...]
    hop: int
    hears: int
    first: float
    units: int
    moments: Moments
    names: dict[str, list[list[Name]]] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)

    def window(self, step: int) -> tuple[float, float]:
        """What an output hears: seconds from the start of the clip, which is repeated to 20 s."""
        start = self.first + step * self.hop - (self.hears - 1) / 2
        return start / SAMPLE_RATE, (start + self.hears) / SAMPLE_RATE


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        model: what listened.
        clips: the data set's, with what couldn't be read.
        heard: clips that were heard, and `seconds` of sound in them.
        label_steps: by teacher, those over which names were looked for; and `named` classes that
            could be names.
    """

    settings: Settings
    model: soundnet.TrainedSoundNet
    clips: Clips
    heard: int
    seconds: float
    layers: list[Layer]
    label_steps: dict[str, int]
    named: dict[str, int]


def study(settings: Settings) -> Result:
    """Listen to every clip once; shows its progress on stderr.

    A clip shorter than 20 s is repeated up to that length, as the network learnt it.

    Raises:
        DatasetError, SchemaError, soundnet.WeightsError: the data set or the weights can't be used.
        ValueError: the network has no such layer.
    """
    clips = Clips(settings.data, settings.shards)
    model = soundnet.load_model(settings.weights)
    layers = choose(model, settings.layers)
    sizes = {layer: _units(model, layer) for layer in layers}
    moments = {layer: Moments(units, settings.top) for layer, units in sizes.items()}
    hidden = {layer: units for layer, units in sizes.items() if layer not in model.heads}
    agreements = {
        teacher.name: Agreement(hidden, len(teacher.classes))
        for teacher in clips.info.classifiers
        if hidden
    }
    heard, seconds = 0, 0.0
    with bars() as progress:
        bar = progress.add_task("clips", total=len(clips))
        for place, record in clips:
            answers = listen(model, record.pcm, layers)
            for layer, answer in answers.items():
                moments[layer].offer(within(answer, len(record.pcm)), place)
            if agreements:
                means = {layer: by_step(answers[layer], record, clips) for layer in hidden}
                for teacher, agreement in agreements.items():
                    agreement.add(record.video_id, means, record.probs[teacher])
            heard += 1
            seconds += len(record.pcm) / SAMPLE_RATE
            progress.advance(bar)
    if not heard:
        raise DatasetError(
            f"none of the {len(clips)} clips in {settings.data} can be read; the first: "
            f"{next(iter(clips.unreadable.items()))}"
        )
    found = {teacher: agreement.names(NAMES) for teacher, agreement in agreements.items()}
    return Result(
        settings,
        model,
        clips,
        heard,
        seconds,
        [_layer(model, layer, moments[layer], sizes[layer], found) for layer in layers],
        {teacher: agreement.steps for teacher, agreement in agreements.items()},
        {teacher: len(agreement.named) for teacher, agreement in agreements.items()},
    )


def choose(model: soundnet.TrainedSoundNet, wanted: tuple[str, ...]) -> list[str]:
    """The layers to study, from the waveform up, each once; `conv8` stands for all heads.

    Raises:
        ValueError: no such layer.
    """
    last = model.network.architecture.names[-1]
    if unknown := [layer for layer in wanted if layer not in model.layers]:
        raise ValueError(f"no layer {unknown[0]!r}; choose among {', '.join(model.layers)}")
    if not wanted:
        wanted = tuple(layer for layer in model.layers if not layer.startswith("pool"))
    heads = model.heads if last in wanted else ()
    return [
        layer for layer in model.layers if layer != last and (layer in wanted or layer in heads)
    ]


def listen(
    model: soundnet.TrainedSoundNet, pcm: np.ndarray, layers: list[str]
) -> dict[str, Embedding]:
    """What the layers say of a clip (samples,) int16, repeated to 20 s where it is shorter; of the
    heads that name classes their probabilities."""
    waveform = tile_to(pcm_to_waveform(pcm), TRAINING_CLIP)
    answers = model.listen([waveform], layers)
    for head in model.heads.keys() - model.network.embeddings:
        if head in answers:
            logits = answers[head].values
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            answers[head].values[:] = odds / odds.sum(axis=1, keepdims=True)
    return answers


def within(answer: Embedding, samples: int) -> np.ndarray:
    """The outputs that are centred in the clip itself, not in its repetitions: (steps, units).

    All, where there are none: then what they hear repeats the clip.
    """
    inside = int(np.searchsorted(answer.times, samples / SAMPLE_RATE))
    return answer.values[: inside or None]


def by_step(answer: Embedding, record: ClipRecord, clips: Clips) -> np.ndarray:
    """A layer's mean over each label step: float32 (label steps, units).

    The mean of the outputs that are centred in the step, or the output nearest to its middle.
    """
    length, duration = clips.info.step_seconds, len(record.pcm) / SAMPLE_RATE
    means = []
    for step in range(len(record.frame_times)):
        start, end = step * length, min((step + 1) * length, max(duration, step * length))
        first, last = np.searchsorted(answer.times, (start, end))
        if first == last:
            first = int(np.abs(answer.times - (start + end) / 2).argmin())
            last = first + 1
        means.append(answer.values[first:last].mean(axis=0))
    return np.stack(means)


def _units(model: soundnet.TrainedSoundNet, layer: str) -> int:
    return model.network.features([layer]).outputs[0].shape[-1]


def _layer(
    model: soundnet.TrainedSoundNet, name: str, moments: Moments, units: int, found: dict
) -> Layer:
    architecture = model.network.architecture
    row = architecture.names[-1] if name in model.heads else name
    names = {
        teacher: by_layer[name] for teacher, (by_layer, _) in found.items() if name in by_layer
    }
    return Layer(
        name,
        tuple(model.heads.get(name, ())),
        architecture.hop(row),
        architecture.receptive_field(row),
        float(architecture.output_centres(row, 1)[0]),
        units,
        moments,
        names,
        {teacher: chance[name] for teacher, (_, chance) in found.items() if name in chance},
    )
