"""The class names of the usual teachers, in the order of their outputs.

`imagenet1000`  synset and first lemma, in the order of the synsets (Caffe's, Keras's and the
                authors'); from timm's `imagenet_synsets.txt` and `imagenet_synset_to_lemma.txt`
`places365`     Places365-Standard, as CSAILVision/places365 orders them
`places401`     Places2 as the authors' teacher knew it (cvondrick/soundnet,
                `categories/categories_places2.txt`)
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from schemas import SchemaError

LISTS = {"imagenet1000": 1000, "places365": 365, "places401": 401}


def load(name: str) -> list[str]:
    """The class names of one of `LISTS`, in order."""
    if name not in LISTS:
        raise SchemaError(f"no class list {name!r}; there are {', '.join(LISTS)}")
    text = importlib.resources.files(__package__).joinpath(f"{name}.txt").read_text("utf-8")
    return parse(text, name)


def read(path: str | Path) -> list[str]:
    """The class names of a text file, one a line."""
    return parse(Path(path).read_text("utf-8"), str(path))


def parse(text: str, where: str) -> list[str]:
    """One class name a line; raises `SchemaError` if there is none or one stands twice."""
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise SchemaError(f"{where} has no class names; one a line is wanted")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SchemaError(f"{where} has the class {twice!r} twice")
    return names
