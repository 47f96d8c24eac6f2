"""What was heard, as people and programs read it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from soundnet.model import Prediction

TopClasses = dict[str, list[tuple[str, float]]]
"""By the name of a head its likeliest classes with their probabilities, likeliest first."""


def steps(heads: Mapping[str, Prediction], k: int) -> Iterator[tuple[float, TopClasses]]:
    """Each step's time in seconds, and what it hears."""
    tops = {name: prediction.top(k) for name, prediction in heads.items()}
    for step, time in enumerate(next(iter(heads.values())).times):
        yield float(time), {name: top[step] for name, top in tops.items()}


def as_json(time: float, top: TopClasses, **more: object) -> str:
    """A step as one line of JSON."""
    heads = {
        name: [{"class": c, "probability": p} for c, p in classes] for name, classes in top.items()
    }
    return json.dumps({**more, "time": time, "heads": heads}, ensure_ascii=False)


def readable(name: str) -> str:
    """A class's name as people say it: no WordNet number, no folder of a letter."""
    return re.sub(r"^(n\d{8} |/[a-z]/)", "", name).replace("_", " ")
