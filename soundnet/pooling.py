"""From a layer's steps to fewer vectors: over windows of a length, or over the whole sound."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from schemas.waveform import SAMPLE_RATE

if TYPE_CHECKING:
    from soundnet.model import Embedding

KINDS = {
    "mean": lambda steps: steps.mean(axis=0, dtype=np.float64),
    "max": lambda steps: steps.max(axis=0),
    "mean+std": lambda steps: np.concatenate(
        [steps.mean(axis=0, dtype=np.float64), steps.std(axis=0, dtype=np.float64)]
    ),
}
"""What becomes of the steps (steps, channels) that are pooled together."""


@dataclass(frozen=True)
class Windows:
    """Windows of a length, one every hop.

    The windows and their number are those of OpenL3: every moment of the sound lies in one, and a
    sound that is shorter than a window has one. Lengths are rounded to whole samples.

    Attributes:
        seconds: length of a window.
        hop_seconds: from one window to the next.
        centred: the first window is centred at the start of the sound (half of it lies before);
            otherwise it begins there.
    """

    seconds: float
    hop_seconds: float
    centred: bool = False

    def __post_init__(self) -> None:
        for name, value in (("window", self.seconds), ("hop", self.hop_seconds)):
            if not 1 <= value * SAMPLE_RATE < 2**40:
                raise ValueError(f"a {name} of {value} s is none; 1 sample at least is wanted")

    @property
    def samples(self) -> int:
        """Length of a window."""
        return round(self.seconds * SAMPLE_RATE)

    @property
    def hop(self) -> int:
        """Samples from one window to the next."""
        return round(self.hop_seconds * SAMPLE_RATE)

    def check_fits(self, layer: str, hop_seconds: float) -> None:
        """Raise ValueError if windows are shorter than a layer's hop: often no step would lie in
        one."""
        if self.samples < round(hop_seconds * SAMPLE_RATE):
            raise ValueError(
                f"a window of {self.seconds:g} s is shorter than the {hop_seconds:.3f} s from one "
                f"step of {layer} to the next; take a longer window or a lower layer"
            )

    def centres(self, samples: int) -> np.ndarray:
        """The windows' centres in a sound of so many samples, int64 (windows,) half samples."""
        heard = samples + (self.samples // 2 if self.centred else 0)
        count = 1 + max(0, -(-(heard - self.samples) // self.hop))
        return 2 * self.hop * np.arange(count) + (0 if self.centred else self.samples)


def pool(embedding: Embedding, kind: str = "mean", windows: Windows | None = None) -> Embedding:
    """One vector for each window, or one for the whole sound.

    To a window belong the steps whose centres lie in it (its start included, its end not); at the
    ends of a sound, where a layer may have none, the nearest step.

    Args:
        kind: "mean", "max", or "mean+std": both, one behind the other (the standard deviation of
            what is pooled, 0 for a single step).
        windows: None for the whole sound.

    Returns:
        An `Embedding` whose `times` are the windows' centres (or the middle of the sound), its
        `hop_seconds` theirs. It hears as much more on both sides as a step does around its centre:
        `hears_seconds` is still that of a step.

    Raises:
        ValueError: no such kind, or windows shorter than the layer's hop.

    Example:

    ```python
    import soundnet
    embedding = soundnet.load_model().embed("street.mp4")
    soundnet.pool(embedding, "mean", soundnet.Windows(seconds=1, hop_seconds=0.1)).values
    ```
    """
    if kind not in KINDS:
        raise ValueError(f"no pooling {kind!r}; choose one of {', '.join(KINDS)}")
    samples = round(embedding.duration * SAMPLE_RATE)
    parts: Iterable[np.ndarray]
    if windows is None:
        centres, parts = np.array([samples]), [embedding.values]
    else:
        windows.check_fits(embedding.layer, embedding.hop_seconds)
        centres = windows.centres(samples)
        steps = embedding.centre_half_samples
        begin = np.searchsorted(steps, centres - windows.samples)
        end = np.searchsorted(steps, centres + windows.samples)
        # Where there is none: the last before the window, or the first behind it.
        begin = np.where(begin == end, np.minimum(begin, len(steps) - 1), begin)
        parts = (embedding.values[b : max(e, b + 1)] for b, e in zip(begin, end, strict=True))
    values = np.stack([KINDS[kind](part).astype(np.float32) for part in parts])
    return replace(
        embedding,
        times=centres / (2 * SAMPLE_RATE),
        hop_seconds=windows.hop / SAMPLE_RATE if windows else embedding.duration,
        values=values,
    )
