"""The figures of the paper's tables, accuracy in percent.

Aytar, Vondrick, Torralba: SoundNet: Learning Sound Representations from Unlabeled Video, NIPS 2016.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One printed figure.

    Attributes:
        task: `esc10`, `esc50`, `dcase` or `multimodal`.
        method: as the paper names it.
        accuracy: percent.
        table: where it stands: `results`, `ablation`, `layers` or `multimodal`.
        layer: of SoundNet-8, where the figure is one of its layers'.
        teachers: the vision networks that taught it: `AlexNet` or `VGG`; "" where none did.
    """

    task: str
    method: str
    accuracy: float
    table: str
    layer: str = ""
    teachers: str = ""


def _row(table: str, method: str, **accuracies: float) -> list[Figure]:
    return [Figure(task, method, accuracy, table) for task, accuracy in accuracies.items()]


def _layers(task: str, teachers: str, *accuracies: float) -> list[Figure]:
    layers = ("conv4", "conv5", "pool5", "conv6", "conv7", "conv8")
    return [
        Figure(task, f"SoundNet, {teachers} teachers", accuracy, "layers", layer, teachers)
        for layer, accuracy in zip(layers, accuracies, strict=True)
    ]


RESULTS = [
    *_row("results", "RG", dcase=69),
    *_row("results", "LTT", dcase=72),
    *_row("results", "RNH", dcase=77),
    *_row("results", "ensemble", dcase=78),
    *_row("results", "SVM-MFCC", esc50=39.6, esc10=67.5),
    *_row("results", "convolutional autoencoder", esc50=39.9, esc10=74.3),
    *_row("results", "random forest", esc50=44.3, esc10=72.7),
    *_row("results", "Piczak ConvNet", esc50=64.5, esc10=81.0),
    *_row("results", "SoundNet", dcase=88, esc50=74.2, esc10=92.2),
    *_row("results", "human", esc50=81.3, esc10=95.7),
]
"""SoundNet beside others. Its 74.2 comes from AlexNet teachers; the published weights had VGG."""

ABLATION = [
    *_row("ablation", "8 layers, l2 loss", esc50=47.8, esc10=81.5),
    *_row("ablation", "8 layers, KL loss", esc50=72.9, esc10=92.2),
    *_row("ablation", "ImageNet teacher only", esc50=69.5, esc10=89.8),
    *_row("ablation", "Places teacher only", esc50=71.1, esc10=89.5),
    *_row("ablation", "both teachers", esc50=72.9, esc10=92.2),
    *_row("ablation", "5 layers, from scratch on the labels", esc50=65.0, esc10=82.3),
    *_row("ablation", "8 layers, from scratch on the labels", esc50=51.1, esc10=75.5),
    *_row("ablation", "5 layers, unlabeled video", esc50=66.1, esc10=86.8),
    *_row("ablation", "8 layers, unlabeled video", esc50=72.9, esc10=92.2),
]
"""What matters, at pool5 with VGG teachers."""

LAYERS = [
    *_layers("dcase", "AlexNet", 84, 85, 84, 83, 78, 68),
    *_layers("dcase", "VGG", 77, 88, 88, 87, 84, 74),
    *_layers("esc50", "AlexNet", 66.0, 71.2, 74.2, 74, 63.8, 45.7),
    *_layers("esc50", "VGG", 66.0, 69.3, 72.9, 73.3, 59.8, 43.7),
    Figure("esc10", "SoundNet, VGG teachers", 92.2, "layers", "pool5", "VGG"),
]
"""By layer and teachers. (ESC-10 at pool5 stands in the ablation; other layers weren't printed.)"""


MULTIMODAL = [
    Figure("multimodal", kind, accuracy, "multimodal", layer, "VGG")
    for layer, accuracies in {"conv7": (32.4, 49.4, 51.4), "conv8": (32.3, 49.4, 50.5)}.items()
    for kind, accuracy in zip(("sound", "vision", "both"), accuracies, strict=True)
]
"""About 4,000 test videos of 44 categories, by what is heard, seen, or both."""


TEACHERS = ("VGG", "AlexNet")


def by_layer(task: str, layer: str, teachers: str = "VGG") -> float | None:
    """The paper's accuracy for a layer of SoundNet-8, taught by VGG or AlexNet."""
    for figure in LAYERS:
        if (figure.task, figure.layer, figure.teachers) == (task, layer, teachers):
            return figure.accuracy
    return None


def results(task: str) -> list[Figure]:
    """The paper's table of methods for a task."""
    return [figure for figure in RESULTS if figure.task == task]


def multimodal(kind: str, layer: str) -> float | None:
    """The paper's accuracy by `sound`, `vision` or `both`, where the sound is a layer's (of 8)."""
    for figure in MULTIMODAL:
        if figure.method == kind and (kind == "vision" or figure.layer == layer):
            return figure.accuracy
    return None
