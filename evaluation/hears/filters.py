"""The filters of conv1: what the network hears first, as waveforms and as frequency responses."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np

from schemas.waveform import SAMPLE_RATE
from trainer.network import SoundNet

POINTS = 8192
"""Of the Fourier transform, the filter padded with zeros: a response every 2.7 Hz."""

COLUMNS = 8
"""Of the figure, as in the paper's."""


@dataclass(frozen=True)
class Filter:
    """A filter of conv1.

    Attributes:
        unit: its number.
        waveform: float32 (kernel,): its weights times the scale of the batch normalization behind
            it, so that its sign is what the ReLU sees.
        response: float64 (POINTS // 2 + 1,), dB of its own peak, from 0 Hz to half the sample rate.
        centre: frequency of the peak, Hz.
        low, high: where the response falls to half the power (-3 dB) beside the peak, Hz; 0 or half
            the sample rate where it doesn't.
    """

    unit: int
    waveform: np.ndarray
    response: np.ndarray
    centre: float
    low: float
    high: float

    @property
    def bandwidth(self) -> float:
        """Width at half power, Hz."""
        return self.high - self.low


def frequencies() -> np.ndarray:
    """Those of a response, Hz: float64 (POINTS // 2 + 1,)."""
    return np.fft.rfftfreq(POINTS, 1 / SAMPLE_RATE)


def of_network(network: SoundNet) -> list[Filter]:
    """The filters of conv1, by rising centre frequency."""
    kernel = np.asarray(network.get_layer("conv1").kernel, np.float32)[:, 0]  # (kernel, filters)
    norm = network.get_layer("bn1")
    variance = np.asarray(norm.moving_variance, np.float32)
    scale = np.asarray(norm.gamma, np.float32) / np.sqrt(variance + norm.epsilon)
    filters = [describe(unit, row) for unit, row in enumerate((kernel * scale).T)]
    return sorted(filters, key=lambda one: (one.centre, one.unit))


def describe(unit: int, waveform: np.ndarray) -> Filter:
    """A filter with its response; one of zeros has no peak, and answers to all alike."""
    power = np.square(np.abs(np.fft.rfft(waveform, POINTS)))
    if not power.max() > 0:
        nyquist = SAMPLE_RATE / 2
        return Filter(unit, waveform, np.zeros(POINTS // 2 + 1), nyquist / 2, 0.0, nyquist)
    power /= power.max()
    at = int(power.argmax())
    below = np.flatnonzero(power[:at] < 0.5)
    above = np.flatnonzero(power[at:] < 0.5)
    hertz = frequencies()
    return Filter(
        unit,
        waveform,
        10 * np.log10(np.maximum(power, 1e-10)),
        float(hertz[at]),
        float(hertz[below[-1] + 1]) if len(below) else 0.0,
        float(hertz[at + above[0] - 1]) if len(above) else float(hertz[-1]),
    )


def figure5(filters: list[Filter]) -> bytes:
    """The paper's figure 5 as SVG, 8 filters in a row, each with its response under it."""
    import matplotlib
    from matplotlib.figure import Figure

    rows = math.ceil(len(filters) / COLUMNS)
    figure = Figure(figsize=(14, 2.9 * rows), layout="constrained")
    # Without a hash of its own each run would name the SVG's parts anew.
    with matplotlib.rc_context({"svg.hashsalt": "figure 5", "font.size": 8}):
        grid = figure.subplots(2 * rows, COLUMNS, squeeze=False)
        for axes in grid.flat[: 2 * rows * COLUMNS]:
            axes.set_visible(False)
        kilohertz = frequencies() / 1000
        for number, one in enumerate(filters):
            row, column = divmod(number, COLUMNS)
            wave, response = grid[2 * row][column], grid[2 * row + 1][column]
            wave.set_visible(True)
            wave.plot(1000 * np.arange(len(one.waveform)) / SAMPLE_RATE, one.waveform, lw=0.9)
            peak = 1.1 * float(np.abs(one.waveform).max()) or 1.0
            wave.set(ylim=(-peak, peak), yticks=[], xticks=[0, 1, 2])
            wave.set_title(f"{one.unit}: {one.centre:,.0f} Hz", fontsize=9)
            response.set_visible(True)
            response.plot(kilohertz, one.response, lw=0.9, color="tab:orange")
            response.axvspan(one.low / 1000, one.high / 1000, alpha=0.15, color="tab:orange")
            response.set(ylim=(-40, 3), xlim=(0, kilohertz[-1]), xticks=[0, 5, 10])
            if column:
                response.set_yticks([])
            else:
                response.set_ylabel("dB")
                wave.set_ylabel("weights")
        grid[0][0].set_xlabel("ms")
        grid[1][0].set_xlabel("kHz")
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def drawing(one: Filter) -> dict:
    """A filter for the page: its numbers, and both curves as points of SVG paths, 100 by 40."""
    peak = float(np.abs(one.waveform).max()) or 1.0
    across = np.linspace(0, 100, len(one.waveform))
    thinned = one.response[:: POINTS // 256]
    return {
        "unit": one.unit,
        "centre": one.centre,
        "low": one.low,
        "high": one.high,
        "bandwidth": one.bandwidth,
        "kernel": len(one.waveform),
        "sample_rate": SAMPLE_RATE,
        "waveform": _points(across, 20 - 19 * one.waveform / peak),
        "response": _points(np.linspace(0, 100, len(thinned)), np.minimum(-thinned, 40)),
    }


def _points(x: np.ndarray, y: np.ndarray) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
