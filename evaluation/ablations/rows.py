"""The rows of the ablations' tables, and what the paper has them compare."""

from __future__ import annotations

from dataclasses import dataclass, field

from evaluation import paper

LAYERS = ("conv4", "conv5", "pool5", "conv6", "conv7", "conv8")
"""What may be judged, the columns of the tables: layers of 8, and of 18, layers."""

USUAL_LAYERS = ("pool5", "conv7")

LABELS = "labels"
"""The column of networks that are trained with labels."""


@dataclass(frozen=True)
class Row:
    """A row of the tables.

    Attributes:
        words: what it is.
        changes: the settings in which it differs from the published recipe.
        paper: what it is called in the paper's table (`evaluation.paper.ABLATION`).
        trained: whether it is; a fresh network shows what training is worth.
        scratch: trained on the labels.
        targets: the kinds of teachers that it learns from, where `changes` names none.
    """

    words: str
    changes: dict = field(default_factory=dict)
    paper: str = ""
    trained: bool = True
    scratch: bool = False
    targets: tuple[str, ...] = ("distribution",)

    @property
    def figure(self) -> float | None:
        """The paper's accuracy on ESC-10, at pool5 or from scratch on the labels."""
        for figure in paper.ABLATION:
            if (figure.task, figure.method) == ("esc10", self.paper):
                return figure.accuracy
        return None

    def layer(self, column: str) -> str | None:
        """The layer of its network that stands in a column; None where there is none.

        Of 5 layers conv4 has the steps and channels of pool5 of 8.
        """
        if self.changes.get("depth") == 5:
            return "conv4" if column == "pool5" else None
        return column


ROWS = {
    "published": Row("8 layers, KL loss, both teachers", paper="8 layers, KL loss"),
    "l2": Row("8 layers, l2 loss", {"loss": "l2"}, "8 layers, l2 loss"),
    "imagenet": Row("ImageNet teacher only", {"teachers": ("imagenet",)}, "ImageNet teacher only"),
    "places": Row("Places teacher only", {"teachers": ("places",)}, "Places teacher only"),
    "depth5": Row("5 layers", {"depth": 5}, "5 layers, unlabeled video"),
    "align": Row("aligned label steps", {"align": True}),
    "residual": Row("18 layers, residual", {"depth": 18}),
    "crop": Row("pieces of 15 s, aligned", {"align": True, "crop": 15.0}),
    "mix": Row("mixed clips", {"mix": 0.3}),
    "cosine": Row("cosine schedule", {"schedule": "cosine"}),
    "average": Row("averaged weights", {"average": 0.99}),
    "embedding": Row("teachers of embeddings too", targets=("distribution", "embedding")),
    "embeddings": Row("teachers of embeddings alone", targets=("embedding",)),
    "untrained": Row("8 layers, not trained", trained=False),
    "scratch8": Row(
        "8 layers, from scratch on the labels",
        {"depth": 8},
        "8 layers, from scratch on the labels",
        scratch=True,
    ),
    "scratch5": Row(
        "5 layers, from scratch on the labels",
        {"depth": 5},
        "5 layers, from scratch on the labels",
        scratch=True,
    ),
}

USUAL = ("published", "l2", "imagenet", "places", "depth5", "align")

GROUPS = {
    "loss": ("Loss (the paper's table 5)", ("l2", "published")),
    "teachers": ("Teachers (the paper's table 5)", ("imagenet", "places", "published")),
    "supervision": (
        "Depth and supervision (the paper's table 5)",
        ("scratch5", "scratch8", "depth5", "published"),
    ),
}
"""The parts of the paper's table 5: by name a title and rows."""

BEYOND = ("beyond", "Beyond the paper", tuple(name for name, row in ROWS.items() if not row.paper))
"""The same for rows that the paper has not."""

TAUGHT = ("imagenet", "places", "published")
"""Rows that stand in the table of layers by teachers (the paper's table 6: AlexNet and VGG)."""

ORDERINGS = (
    ("published", "l2"),
    ("published", "imagenet"),
    ("published", "places"),
    ("imagenet", "places"),
    ("published", "depth5"),
    ("published", "untrained"),
    ("published", "scratch8"),
    ("scratch5", "scratch8"),
)
"""Of each pair the paper has the first ahead (the untrained one isn't in the paper)."""

LAYER_ORDERINGS = (("pool5", "conv4"), ("pool5", "conv7"), ("conv7", "conv8"))
"""The same of layers of one network (on ESC-50, taught by VGG)."""
