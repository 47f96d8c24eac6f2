"""SoundNet-8 in plain NumPy, written from the paper's table alone, to hold the network against."""

from __future__ import annotations

import numpy as np

# name, kernel, stride, zeros on each side; a pool has no weights
TABLE = (
    ("conv1", 64, 2, 32),
    ("pool1", 8, 8, 0),
    ("conv2", 32, 2, 16),
    ("pool2", 8, 8, 0),
    ("conv3", 16, 2, 8),
    ("conv4", 8, 2, 4),
    ("conv5", 4, 2, 2),
    ("pool5", 4, 4, 0),
    ("conv6", 4, 2, 2),
    ("conv7", 4, 2, 2),
)
HEADS = (("conv8", 8, 2, 0), ("conv8_2", 8, 2, 0))
BN_EPSILON = 1e-5


def windows(x: np.ndarray, kernel: int, stride: int, zeros: int = 0) -> np.ndarray:
    """What each step looks at: (steps, channels) -> (steps, channels, kernel)."""
    x = np.pad(x, ((zeros, zeros), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(x, kernel, axis=0)[::stride]


def convolve(x, parameters, kernel, stride, zeros) -> np.ndarray:
    """A convolution with its bias; weights are (kernel, 1, in, out)."""
    weights = parameters["weights"][:, 0].astype(x.dtype).transpose(1, 0, 2)  # (in, kernel, out)
    seen = windows(x, kernel, stride, zeros)
    flat = seen.reshape(len(seen), -1)  # (steps, in x kernel)
    return flat @ weights.reshape(flat.shape[1], -1) + parameters["biases"].astype(x.dtype)


def normalize(x, parameters) -> np.ndarray:
    """Batch normalization with the running statistics."""
    mean, var, gamma, beta = (
        parameters[name].astype(x.dtype) for name in ("mean", "var", "gamma", "beta")
    )
    return (x - mean) / np.sqrt(var + BN_EPSILON) * gamma + beta


def layers(arrays, waveform: np.ndarray, dtype=np.float64) -> dict[str, np.ndarray]:
    """What every layer computes of a waveform (samples,): by name (steps, channels).

    Args:
        arrays: the published ones, `soundnet.weights.read_arrays`.
    """
    x = waveform.astype(dtype)[:, np.newaxis]
    outputs = {}
    for name, kernel, stride, zeros in TABLE:
        if name.startswith("pool"):
            x = windows(x, kernel, stride).max(axis=2)
        else:
            x = convolve(x, arrays[name], kernel, stride, zeros)
            x = np.maximum(normalize(x, arrays[name]), 0)
        outputs[name] = x
    for name, kernel, stride, zeros in HEADS:
        outputs[name] = convolve(x, arrays[name], kernel, stride, zeros)
    return outputs
