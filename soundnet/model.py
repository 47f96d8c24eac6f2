"""A trained network in use: sound in, categories and embeddings over time out."""

from __future__ import annotations

import functools
import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

import media
from schemas.waveform import SAMPLE_RATE
from soundnet import chunks, weights

if TYPE_CHECKING:
    import keras

    from trainer.network import SoundNet


TRAINING_CLIP = 20 * SAMPLE_RATE
"""Samples of the clips that the networks learn from, as in the paper."""


@dataclass(frozen=True)
class Timeline:
    """What the network says of one sound, step by step.

    Attributes:
        times: float64 (steps,), seconds from the start of the sound to the centre of what the step
            hears; exact (whole and half samples), so that they don't drift.
        hop_seconds: from one step to the next.
        hears_seconds: how much sound a step hears.
        duration: seconds of the sound.
        tiled: the sound was shorter than one step needs; it was repeated up to that length (or to
            what another layer needs that was asked for with it), and what it gives is placed at its
            middle.
    """

    times: np.ndarray
    hop_seconds: float
    hears_seconds: float
    duration: float
    tiled: bool

    @property
    def centre_half_samples(self) -> np.ndarray:
        """`times` as whole numbers, int64 (steps,): half samples, of which a second has 44,100."""
        return np.rint(self.times * (2 * SAMPLE_RATE)).astype(np.int64)


@dataclass(frozen=True)
class Prediction(Timeline):
    """What one head says.

    Attributes:
        classes: names in the order of the probabilities.
        probabilities: float32 (steps, classes); each row sums to 1.
    """

    classes: tuple[str, ...]
    probabilities: np.ndarray

    def top(self, k: int = 5) -> list[list[tuple[str, float]]]:
        """Per step the `k` likeliest classes as (name, probability), likeliest first."""
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        return [
            [(self.classes[i], float(row[i])) for i in best]
            for row, best in zip(self.probabilities, order, strict=True)
        ]

    def mean(self) -> np.ndarray:
        """Probabilities over the whole sound, float32 (classes,): the mean over time."""
        return self.probabilities.mean(axis=0)


@dataclass(frozen=True)
class Embedding(Timeline):
    """What one layer computes.

    Attributes:
        layer: its name.
        values: float32 (steps, channels), after ReLU (a head's logits may be negative).
    """

    layer: str
    values: np.ndarray

    def mean(self) -> np.ndarray:
        """One vector for the whole sound, float32 (channels,): the mean over time."""
        return self.values.mean(axis=0, dtype=np.float64).astype(np.float32)


class TrainedSoundNet:
    """A trained SoundNet, ready to hear; `soundnet.load_model` makes one.

    Takes any sound that ffmpeg reads, of any rate and from a single sample to many hours (read
    and computed in pieces). An answer depends on the sound alone, not on what was asked before, and
    nothing is random.

    The heads' last step is given only where it hears no more beyond the end of the sound than that
    of a training clip did (20 s: 0.93 s with 8 layers). Further out the published network, which
    never learnt to, answers with logits some hundreds too low, in which one class stands out at
    random.

    Attributes:
        network: the `trainer.network.SoundNet`.
        name: what it was loaded by.

    Example:

    ```python
    import soundnet
    model = soundnet.load_model()
    for time, objects in zip((p := model.predict("street.mp4")["imagenet"]).times, p.top(3)):
        print(f"{time:.1f} s", objects)
    vector = model.embed("street.mp4").mean()  # float32 (256,)
    ```
    """

    def __init__(self, network: SoundNet, name: str = "") -> None:
        self.network = network
        self.name = name
        self._features: dict[tuple[str, ...], keras.Model] = {}

    @functools.cached_property
    def sha256(self) -> str:
        """Of the network's weights, see `soundnet.weights.weights_sha256`."""
        return weights.weights_sha256(self.network)

    @property
    def heads(self) -> dict[str, tuple[str, ...]]:
        """By the name of a head (`imagenet`, `places`) its class names."""
        return self.network.heads

    @property
    def layers(self) -> tuple[str, ...]:
        """The names that `embed` takes: layers from the waveform up, then heads (logits)."""
        return (*self.network.architecture.names, *self.heads)

    def hop_seconds(self, layer: str) -> float:
        """From one step of a layer to the next."""
        return self.network.architecture.hop(self._row(layer)) / SAMPLE_RATE

    def hears_seconds(self, layer: str) -> float:
        """How much sound a step of a layer hears."""
        return self.network.architecture.receptive_field(self._row(layer)) / SAMPLE_RATE

    def predict(
        self,
        source: str | os.PathLike | np.ndarray,
        sample_rate: int | None = None,
        *,
        channels: str = "downmix",
    ) -> dict[str, Prediction]:
        """Name what a sound comes from and where: class probabilities over time, of all heads but
        those that learnt embeddings.

        Args:
            source: a file, or an array (samples,) or (samples, channels) with its `sample_rate`;
                see `media.load_waveform`.
            channels: "downmix", or "first" as the authors did.

        Returns:
            By the name of a head its `Prediction`; a step of SoundNet-8 every 2.97 s.

        Raises:
            media.MediaError: the file has no sound or can't be read; ffmpeg's words are in it.
        """
        heads = self._naming()
        heard = self.listen(_blocks(source, sample_rate, channels), heads)
        return {name: _prediction(logits, heads[name]) for name, logits in heard.items()}

    def predict_live(
        self, blocks: Iterable[np.ndarray]
    ) -> Generator[dict[str, Prediction], None, None]:
        """What `predict` says, while the sound still comes; see `follow`.

        Yields:
            By the name of a head the steps that are new (as many for each head), at least one.
        """
        heads = self._naming()
        for heard in self.follow(blocks, heads):
            if all(len(logits.values) for logits in heard.values()):
                yield {name: _prediction(logits, heads[name]) for name, logits in heard.items()}

    def _naming(self) -> dict[str, tuple[str, ...]]:
        """By its name each head's classes, without those that learnt embeddings."""
        embeddings = self.network.embeddings
        heads = {name: names for name, names in self.heads.items() if name not in embeddings}
        if not heads:
            raise ValueError("this network names nothing: its heads give embeddings; use embed")
        return heads

    def embed(
        self,
        source: str | os.PathLike | np.ndarray,
        sample_rate: int | None = None,
        *,
        layer: str = "pool5",
        channels: str = "downmix",
    ) -> Embedding:
        """Represent a sound by what a layer computes, over time.

        Args:
            source, sample_rate, channels: as in `predict`.
            layer: one of `layers`. The paper's choice for recognising sounds is pool5 of the
                8-layer network: 256 channels, a step every 0.37 s. The lowest layers are large
                (conv1: 0.7 MB a second).

        Raises:
            media.MediaError: the file has no sound or can't be read; ffmpeg's words are in it.
            ValueError: no such layer.
        """
        return self.listen(_blocks(source, sample_rate, channels), [layer])[layer]

    def listen(self, blocks: Iterable[np.ndarray], layers: Iterable[str]) -> dict[str, Embedding]:
        """What several layers say of a waveform of any length, in one pass, with their times.

        Args:
            blocks: the waveform's pieces, in order: float32 (samples,) each, -256..256, 22,050 Hz.
                It is repeated where it is shorter than one of the layers needs.

        Raises:
            ValueError: no such layer, or nothing to hear.
        """
        layers = self._known(layers)
        found = list(self._hear(blocks, layers, chunks.CHUNK_SAMPLES))
        _, samples = found[-1]
        return {
            layer: self._embedding(
                layer, np.concatenate([steps[layer] for steps, _ in found]), samples
            )
            for layer in layers
        }

    def follow(
        self, blocks: Iterable[np.ndarray], layers: Iterable[str]
    ) -> Iterator[dict[str, Embedding]]:
        """What `listen` says, while the waveform still comes: each step of the deepest layer as
        soon as the last sample that it hears is there, and the others' with it.

        The steps are those of `listen`, with the same times and, within the rounding of floats (it
        cuts the waveform otherwise), the same values.

        Args:
            blocks: as in `listen`; they may go on for ever.

        Yields:
            By layer the steps that are new, perhaps none, as an `Embedding` whose `duration` is
            what has been heard so far.

        Raises:
            ValueError: as `listen` does.
        """
        layers = self._known(layers)
        given = dict.fromkeys(layers, 0)
        for steps, samples in self._hear(blocks, layers, chunk_samples=1):
            yield {
                layer: self._embedding(layer, values, samples, given[layer])
                for layer, values in steps.items()
            }
            for layer, values in steps.items():
                given[layer] += len(values)

    def _known(self, layers: Iterable[str]) -> tuple[str, ...]:
        layers = tuple(layers)
        for layer in layers:
            if layer not in self.layers:
                raise ValueError(f"no layer {layer!r}; choose one of {', '.join(self.layers)}")
        return layers

    def _hear(
        self, blocks: Iterable[np.ndarray], layers: tuple[str, ...], chunk_samples: int
    ) -> Iterator[tuple[dict[str, np.ndarray], int]]:
        """Yield the steps of the next chunk, by layer, and how many samples have come so far."""
        from trainer.network import tile_to

        shortest = max(map(self._shortest, layers))
        samples = 0

        def long_enough():
            nonlocal samples
            head: np.ndarray | None = np.zeros(0, np.float32)
            for block in blocks:
                samples += len(block)
                if head is None:
                    yield block
                    continue
                head = np.concatenate([head, block])
                if len(head) >= shortest:
                    yield head
                    head = None
            if head is not None:
                yield tile_to(head, shortest)

        given = dict.fromkeys(layers, 0)
        for steps, last in self._activations(long_enough(), layers, chunk_samples):
            for layer, values in steps.items():
                if last:
                    all_steps = given[layer] + len(values)
                    wanted = self._steps(layer, all_steps, max(samples, shortest))
                    steps[layer] = values[: max(0, wanted - given[layer])]
                given[layer] += len(values)
            yield steps, samples

    def activations(
        self, blocks: Iterable[np.ndarray], layers: Iterable[str]
    ) -> dict[str, np.ndarray]:
        """What several layers say of a waveform, in one pass: by layer float32 (steps, channels).

        Args:
            blocks: the waveform's pieces, in order: float32 (samples,) each, -256..256, 22,050 Hz.

        Raises:
            ValueError: no such layer, or the waveform is too short for one of them.
        """
        layers = tuple(layers)
        found = [steps for steps, _ in self._activations(blocks, layers, chunks.CHUNK_SAMPLES)]
        return {layer: np.concatenate([steps[layer] for steps in found]) for layer in layers}

    def _activations(
        self, blocks: Iterable[np.ndarray], layers: tuple[str, ...], chunk_samples: int
    ) -> Iterator[tuple[dict[str, np.ndarray], bool]]:
        """As `chunks.activations`."""
        if layers not in self._features:
            self._features[layers] = self.network.features(layers)
            # Where there is a GPU, Keras would have XLA compile it anew for each length of sound.
            self._features[layers].jit_compile = False
        rows = {layer: self._row(layer) for layer in layers}
        return chunks.activations(
            self._features[layers], self.network.architecture, rows, blocks, chunk_samples
        )

    def _row(self, layer: str) -> str:
        """The layer of the architecture's table that a name of `layers` belongs to."""
        return self.network.architecture.names[-1] if layer in self.heads else layer

    def _past_end(self) -> int:
        """Samples past the end of a training clip that its last step hears (in the padding)."""
        architecture, head = self.network.architecture, self.network.architecture.names[-1]
        steps = architecture.output_steps(head, TRAINING_CLIP)
        return max(0, self._heard_until(head, steps - 1) - TRAINING_CLIP)

    def _heard_until(self, row: str, step: int) -> int:
        """The sample before which a step's receptive field ends."""
        architecture = self.network.architecture
        centre = architecture.output_centres(row, step + 1)[step]
        return round(centre + (architecture.receptive_field(row) + 1) / 2)

    def _shortest(self, layer: str) -> int:
        """Samples of the shortest sound that isn't repeated: it gives one step."""
        row = self._row(layer)
        shortest = self.network.architecture.min_samples(row)
        if row == self.network.architecture.names[-1]:
            shortest = max(shortest, self._heard_until(row, 0) - self._past_end())
        return shortest

    def _steps(self, layer: str, steps: int, samples: int) -> int:
        """How many of a layer's steps are given for a sound of so many samples."""
        row = self._row(layer)
        if row == self.network.architecture.names[-1]:
            while steps > 1 and self._heard_until(row, steps - 1) > samples + self._past_end():
                steps -= 1
        return steps

    def _embedding(self, layer: str, values: np.ndarray, samples: int, first: int = 0) -> Embedding:
        """The steps from `first` on of what a layer says of a sound of so many samples."""
        row, architecture = self._row(layer), self.network.architecture
        tiled = samples < self._shortest(layer)
        centres = architecture.output_centres(row, first + len(values))[first:]
        return Embedding(
            times=(np.full(len(values), samples / 2) if tiled else centres) / SAMPLE_RATE,
            hop_seconds=self.hop_seconds(layer),
            hears_seconds=self.hears_seconds(layer),
            duration=samples / SAMPLE_RATE,
            tiled=tiled,
            layer=layer,
            values=values,
        )


def _prediction(logits: Embedding, classes: tuple[str, ...]) -> Prediction:
    values = np.exp(logits.values - logits.values.max(axis=1, keepdims=True))
    return Prediction(
        **{part.name: getattr(logits, part.name) for part in fields(Timeline)},
        classes=classes,
        probabilities=values / values.sum(axis=1, keepdims=True),
    )


def _blocks(source, sample_rate: int | None, channels: str) -> Iterable[np.ndarray]:
    """The waveform of a file or an array, a file's in pieces as it is read."""
    if isinstance(source, np.ndarray) or sample_rate is not None:
        return [media.load_waveform(source, sample_rate, channels=channels)]
    return media.stream_waveform(source, channels=channels)


def load_model(name_or_path: str | os.PathLike = weights.PUBLISHED) -> TrainedSoundNet:
    """A trained network by name, file or address.

    Args:
        name_or_path: "published" (get it once with `soundnet weights fetch`); the path of a
            `.keras` file that training wrote; or the address of one with its hash, see
            `soundnet.weights.resolve`.

    Raises:
        soundnet.weights.WeightsError: no such weights; the message says how to get them.
    """
    return TrainedSoundNet(weights.load_network(name_or_path), os.fspath(name_or_path))
