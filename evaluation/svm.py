"""Linear SVMs on windows that slide over features, without the windows being written out.

What is minimised is LIBLINEAR's L2-regularised squared hinge (its solver 2, scikit-learn's
`LinearSVC(dual=False)`): for each class, against the rest,

    1/2 |(w, b)|^2 + C sum_i max(0, 1 - y_i (w x_i + b))^2

which has one minimum. LIBLINEAR wants each window as a row of its own: a frame stands in as many
rows as a window has frames, as float64 and once more with its column numbers. For conv5 of ESC-50
these are 158,400 rows of 2,816 values, about 10 GB, and for conv4 twice that. Here the product of
the windows with the weights is taken as what it is, a convolution of the frames: memory is that of
the frames (0.2 GB for conv4), and all classes are one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-4
"""As in LIBLINEAR: of a class's gradient at 0, times its share of the windows (or the others')."""

CG_TOLERANCE = 0.1
"""Of the gradient, that the solution of a Newton step may leave."""

MAX_ROUNDS = 100
MAX_CG_ROUNDS = 250

BLOCK_BYTES = 2**26
"""Of the largest array that a product makes at a time."""


@dataclass(frozen=True)
class LinearSVM:
    """One linear function a class.

    Attributes:
        classes: their names, in order.
        weights: float64 (window frames, channels, classes).
        bias: float64 (classes,).
    """

    classes: tuple[str, ...]
    weights: np.ndarray
    bias: np.ndarray

    def decision(self, features: np.ndarray) -> np.ndarray:
        """Decision values of a clip (frames, channels): the mean over its windows, (classes,)."""
        width = len(self.weights)
        windows = np.lib.stride_tricks.sliding_window_view(features, width, axis=0)
        mean = windows.mean(0, dtype=np.float64)  # (channels, width); the decision is linear
        return np.einsum("cj,jck->k", mean, self.weights) + self.bias

    def name(self, features: np.ndarray) -> str:
        """The class of a clip (frames, channels)."""
        return self.classes[int(self.decision(features).argmax())]


def train(clips: np.ndarray, labels: list[str], width: int, c: float) -> LinearSVM:
    """Learn to name windows.

    Args:
        clips: float32 (clips, frames, channels).
        labels: a clip's class is that of each of its windows.
        width: frames of a window; it slides by one.
        c: C, how much a window on the wrong side costs.

    Raises:
        ValueError: fewer than two classes, or the minimum wasn't found.
    """
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise ValueError(f"clips of {len(classes)} classes to learn from; at least 2 are wanted")
    numbers = np.array([classes.index(label) for label in labels])
    sign = np.where(numbers[:, None] == np.arange(len(classes)), 1.0, -1.0)[:, None]
    weights = _newton(_Windows(clips, width), sign, c)
    channels = clips.shape[2]
    return LinearSVM(classes, weights[:-1].reshape(width, channels, -1), weights[-1])


def _newton(windows: _Windows, sign: np.ndarray, c: float) -> np.ndarray:
    """The minimum, all classes side by side: float64 (values of a window + 1, classes).

    Newton's method: a step is the solution, by conjugate gradients, of the curvature where it
    stands, as long as lowers the objective.

    Args:
        sign: (clips, 1, classes), 1 for a clip's class and -1 for the others.
    """
    classes = sign.shape[2]
    shares = np.minimum((sign > 0).mean((0, 1)), (sign < 0).mean((0, 1)))
    weights = np.zeros((windows.values + 1, classes))
    scores = np.zeros((len(sign), windows.number, classes))
    for round_ in range(MAX_ROUNDS):
        slack = np.maximum(0, 1 - sign * scores)
        gradient = weights - 2 * c * windows.back(sign * slack)
        norms = np.linalg.norm(gradient, axis=0)
        if round_ == 0:
            goal = TOLERANCE * shares * norms
        left = np.flatnonzero(norms > goal)
        if not len(left):
            return weights
        costs = slack[..., left] > 0
        step = _conjugate_gradients(windows, costs, c, gradient[:, left])
        change = windows.times(step)
        length = _step_length(
            weights[:, left], step, scores[..., left], change, sign[..., left], c, gradient[:, left]
        )
        weights[:, left] += length * step
        scores[..., left] += length * change
    raise ValueError(
        f"the classifier didn't converge in {MAX_ROUNDS} rounds; the features reach "
        f"{windows.clips.max():.3g}, perhaps out of scale"
    )


def _conjugate_gradients(
    windows: _Windows, costs: np.ndarray, c: float, gradient: np.ndarray
) -> np.ndarray:
    """Per class the step whose product with the curvature is minus the gradient, about.

    Args:
        costs: bool (clips, windows, classes): the windows that the objective curves by.
    """
    step, residual = np.zeros_like(gradient), -gradient
    direction = residual.copy()
    squares = (residual**2).sum(0)
    goal = CG_TOLERANCE**2 * squares
    for _ in range(MAX_CG_ROUNDS):
        # Single precision is enough for a step that is only about right.
        curved = direction + 2 * c * windows.back(
            windows.times(direction, np.float32) * costs, np.float32
        )
        going = squares > goal
        length = np.where(going, squares / (direction * curved).sum(0), 0)
        step += length * direction
        residual -= length * curved
        before, squares = squares, (residual**2).sum(0)
        if not (squares > goal).any():
            break
        direction = residual + squares / before * direction
    return step


def _step_length(weights, step, scores, change, sign, c, gradient) -> np.ndarray:
    """Per class how far to go: all of the step, or half of it, a quarter ..."""

    def value(length: np.ndarray) -> np.ndarray:
        slack = np.maximum(0, 1 - sign * (scores + length * change))
        return ((weights + length * step) ** 2).sum(0) / 2 + c * (slack**2).sum((0, 1))

    slope = (gradient * step).sum(0)
    length = np.ones(step.shape[1])
    start = value(np.zeros_like(length))
    while (too_far := value(length) > start + 0.01 * length * slope).any() and length.min() > 1e-9:
        length[too_far] /= 2
    return length


class _Windows:
    """The windows of clips, each value of a window times a matrix, and back.

    Attributes:
        number: windows of a clip.
        values: of a window, frame after frame.
    """

    def __init__(self, clips: np.ndarray, width: int) -> None:
        self.clips, self.width = clips, width
        _, self.frames, self.channels = clips.shape
        self.number, self.values = self.frames - width + 1, width * self.channels

    def times(self, weights: np.ndarray, dtype=np.float64) -> np.ndarray:
        """Each window times weights (values + 1, classes): (clips, windows, classes)."""
        classes = weights.shape[1]
        scores = np.empty((len(self.clips), self.number, classes), dtype)
        flat = weights[:-1].astype(dtype).reshape(self.width, self.channels, classes)
        flat = np.ascontiguousarray(flat.transpose(1, 0, 2)).reshape(self.channels, -1)
        for at, frames in self._blocks(classes, dtype):
            products = (frames @ flat).reshape(-1, self.frames, self.width, classes)
            scores[at] = weights[-1]
            for j in range(self.width):
                scores[at] += products[:, j : j + self.number, j]
        return scores

    def back(self, values: np.ndarray, dtype=np.float64) -> np.ndarray:
        """The sum of all windows, each times its values (clips, windows, classes)."""
        classes = values.shape[2]
        total = np.zeros((self.channels, self.width * classes))
        for at, frames in self._blocks(classes, dtype):
            spread = np.zeros((len(values[at]), self.frames, self.width, classes), dtype)
            for j in range(self.width):
                spread[:, j : j + self.number, j] = values[at]
            total += frames.T @ spread.reshape(len(frames), -1)
        total = total.reshape(self.channels, self.width, classes).transpose(1, 0, 2)
        return np.concatenate([total.reshape(-1, classes), values.sum((0, 1), np.float64)[None]])

    def _blocks(self, classes: int, dtype) -> Iterator[tuple[slice, np.ndarray]]:
        """Some clips at a time: which, and their frames (clips x frames, channels)."""
        size = 8 * self.frames * max(self.width * classes, self.channels)
        step = max(1, BLOCK_BYTES // size)
        for start in range(0, len(self.clips), step):
            at = slice(start, start + step)
            yield at, self.clips[at].reshape(-1, self.channels).astype(dtype, copy=False)
