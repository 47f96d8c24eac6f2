"""Long sound in pieces: what a network's layers say of a waveform of any length, in flat memory.

The waveform is cut into chunks that overlap. A chunk starts on the grid of the deepest layer's hop,
so that every layer's steps fall where they fall for the whole waveform, and brings along what the
receptive fields reach to on both sides. A step of a layer belongs to one chunk, in which its
receptive field is whole: the result is that of the whole waveform at once (zeros are padded within
the network at the two ends of the waveform, and nowhere else).

Chunks go through the network one at a time: a batch would be no faster (a chunk already keeps every
core busy) and could make an answer depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

    from trainer.network import Architecture

CHUNK_SAMPLES = 2**21
"""Samples that a chunk adds, at least (95 s): about 0.5 GB of activations; 13 % of overlap for the
heads of SoundNet-8, 0.5 % for pool5."""


def activations(
    features: keras.Model,
    architecture: Architecture,
    layers: Mapping[str, str],
    blocks: Iterable[np.ndarray],
    chunk_samples: int = CHUNK_SAMPLES,
) -> Iterator[tuple[dict[str, np.ndarray], bool]]:
    """What the layers say of a waveform that comes in blocks, chunk by chunk.

    Args:
        features: a model that gives, by name, the layers' outputs (batch, steps, channels).
        layers: by that name, the layer of the architecture's table.
        blocks: float32 (samples,) each, of any lengths, together the waveform; at least as long as
            each layer needs.
        chunk_samples: samples that a chunk adds, rounded up to the grid. With 1, a step is given as
            soon as the last sample that it hears has come (of the deepest layer; the others'
            steps come with it).

    Yields:
        By name float32 (steps, channels), the steps that follow those before; and whether these are
        the last, of which some hear what lies past the end.
    """
    hops = {name: architecture.hop(layer) for name, layer in layers.items()}
    grid = max(hops.values())
    own = -(-chunk_samples // grid) * grid
    reach = 0  # samples that a step hears before its place on the grid
    after = 0  # samples that the last step of a chunk hears past what the chunk adds
    for layer in layers.values():
        half = (architecture.receptive_field(layer) - 1) / 2
        centre = architecture.output_centres(layer, 1)[0]
        reach = max(reach, round(half - centre))
        after = max(after, round(centre + half) + 1 - architecture.hop(layer))
    before = -(-reach // grid) * grid
    for index, (start, samples, last) in enumerate(_cut(blocks, own, before, after)):
        outputs = features.predict_on_batch(samples[np.newaxis])
        steps = {}
        for name, hop in hops.items():
            first = (index * own - start) // hop
            end = None if last else first + own // hop
            # A copy, so that the chunk's other steps are freed.
            steps[name] = np.array(outputs[name][0, first:end], np.float32)
        yield steps, last


def _cut(
    blocks: Iterable[np.ndarray], own: int, before: int, after: int
) -> Iterator[tuple[int, np.ndarray, bool]]:
    """Yield (first sample, samples, is it the last) of the chunks.

    Chunk i owns the samples from i * own on. All but the last have the length own + context (the
    first lacks the context before), and the last is never shorter than the context.
    """
    start, index = 0, 0
    parts: list[np.ndarray] = []
    held = 0
    for block in blocks:
        parts.append(block)
        held += len(block)
        while start + held >= (end := (index + 1) * own + after):
            samples = np.concatenate(parts)
            yield start, samples[: end - start], False
            index += 1
            next_start = max(0, index * own - before)
            parts = [samples[next_start - start :]]
            start, held = next_start, len(parts[0])
    yield start, np.concatenate(parts), True
