"""Long sound in pieces: the answer is that of the whole at once."""

from __future__ import annotations

import numpy as np
import pytest

from soundnet import chunks


def cut(waveform: np.ndarray, size: int):
    return (waveform[i : i + size] for i in range(0, len(waveform), size))


@pytest.mark.parametrize(("seconds", "chunk_samples"), [(15, 1), (25, 1), (51.7, 300_000)])
def test_pieces_give_what_the_whole_gives(lively_model, noise, seconds, chunk_samples):
    architecture = lively_model.network.architecture
    layers = {name: name for name in architecture.names}
    features = lively_model.network.features(layers)
    waveform = noise(seconds)

    found = list(chunks.activations(features, architecture, layers, [waveform], chunk_samples))

    assert [last for _, last in found] == [False] * (len(found) - 1) + [True]
    pieces = {layer: np.concatenate([steps[layer] for steps, _ in found]) for layer in layers}
    whole = features.predict_on_batch(waveform[np.newaxis])
    for layer in layers:
        assert pieces[layer].shape == whole[layer][0].shape, layer
        error = np.abs(pieces[layer] - whole[layer][0]).max()
        assert error <= 1e-5 * np.abs(whole[layer]).max(), layer


def test_the_length_of_the_blocks_changes_no_bit(lively_model, noise):
    waveform = noise(40)
    layers = ["conv4", *lively_model.heads]
    once = lively_model.activations([waveform], layers)
    for size in (1777, 300_000):
        again = lively_model.activations(cut(waveform, size), layers)
        for layer in layers:
            np.testing.assert_array_equal(once[layer], again[layer])


def test_chunks_overlap_by_their_context_and_the_last_is_never_short():
    waveform = np.arange(1000, dtype=np.float32)
    for length in range(1, 1000, 13):
        seen = list(chunks._cut(cut(waveform[:length], 37), own=100, before=20, after=50))
        for index, (start, samples, last) in enumerate(seen):
            assert start == max(0, index * 100 - 20)
            end = length if last else (index + 1) * 100 + 50
            np.testing.assert_array_equal(samples, waveform[start:end])
            assert last == (index == len(seen) - 1)
        assert len(seen) == 1 or len(seen[-1][1]) >= 20 + 50
