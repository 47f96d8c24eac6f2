"""Maps of the videos: t-SNE of what is seen and of what is heard, the paper's figure 4."""

from __future__ import annotations

import io

import numpy as np

from evaluation.multimodal.videos import Video

PERPLEXITY = 30
"""t-SNE's usual one, or a third of the videos where they are few."""


def heard(videos: list[Video], layer: str) -> np.ndarray:
    """Where the videos lie by their sound: float64 (videos, 2), -1..1.

    Angles count, not loudness.
    """
    values = np.stack([video.heard[layer] for video in videos])
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return _map(np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0))


def seen(videos: list[Video], vision: str) -> np.ndarray:
    """Where the videos lie by what is seen: float64 (videos, 2), -1..1.

    Between distributions the distance is Hellinger's.
    """
    return _map(np.sqrt(np.maximum(np.stack([video.seen[vision] for video in videos]), 0)))


def _map(values: np.ndarray) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, max(1.0, (len(values) - 1) / 3))
    found = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(values)
    found = found - (found.max(axis=0) + found.min(axis=0)) / 2
    return found.astype(float) / (np.abs(found).max() or 1)


def colours(groups: list[str]) -> dict[str, str]:
    """By group, the largest first, one of ten colours; all beyond the ninth share a grey."""
    order = sorted(set(groups), key=lambda group: (-groups.count(group), group))
    return {group: COLOURS[min(at, len(COLOURS) - 1)] for at, group in enumerate(order)}


COLOURS = (
    *("#3b78b8", "#e08214", "#2f9e5b", "#c93a3a", "#8b62b5"),
    *("#8c6145", "#d873b4", "#a8a41f", "#1fa7b3", "#8a8f94"),
)


def figure4(maps: dict[str, np.ndarray], groups: list[str]) -> bytes:
    """Both maps side by side as SVG.

    Args:
        maps: by title.
        groups: of each video.
    """
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.4), layout="constrained")
    with matplotlib.rc_context({"svg.hashsalt": "figure 4", "font.size": 9}):
        panels = figure.subplots(1, len(maps), squeeze=False)[0]
        for axes, (title, places) in zip(panels, maps.items(), strict=True):
            for group, colour in colours(groups).items():
                mine = places[[one == group for one in groups]]
                axes.scatter(mine[:, 0], mine[:, 1], s=22, color=colour, label=group)
            axes.set(xticks=[], yticks=[], xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal")
            axes.set_title(title)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=5, frameon=False)
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
