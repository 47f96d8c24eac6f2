"""What the page shows besides the tables: confusions to look at, and the clips to listen to."""

from __future__ import annotations

from collections import Counter

import media
import pages
from evaluation.classify import tables
from evaluation.classify.evaluating import Result
from schemas import audio
from schemas.waveform import PCM_TO_WAVEFORM, SAMPLE_RATE

MOST_CLIPS = 12
MOST_SECONDS = 10
"""Of each that are embedded: at most 0.1 MB."""


def data(result: Result) -> dict[str, object]:
    """What the template `classify.html` takes besides the report."""
    return {
        "ranking": tables.ranking(result),
        "heats": [_heat(result, name) for name in result.judged],
        "confused": _confused(result),
        "unreadable": tables.UNREADABLE,
        "judgements": sum(map(len, result.judged.values())),
        "most_seconds": MOST_SECONDS,
    }


def _heat(result: Result, name: str) -> dict[str, object]:
    """One confusion matrix, and of each class the share that was named rightly."""
    row = tables.shown_row(result, name)
    counts = tables.confusion(result, name, row)
    classes = result.dataset.classes
    right = [
        (label, share, int(of.sum()))
        for label, share, of in zip(classes, tables.recalls(counts), counts, strict=True)
        if share is not None
    ]
    return {
        "name": name,
        "row": row,
        "columns": [*classes, tables.UNREADABLE] if counts[:, -1].any() else classes,
        "rows": [
            (label, int(of.sum()), of.tolist()) for label, of in zip(classes, counts, strict=True)
        ],
        "right": sorted(right, key=lambda one: one[1]),
    }


def _confused(result: Result) -> list[dict[str, object]]:
    """The clips that most judgements (of a protocol and a layer) got wrong, with their sound."""
    wrong: dict[int, Counter[str]] = {}
    for rows in result.judged.values():
        for fold in (fold for folds in rows.values() for fold in folds):
            for place, said in fold.said.items():
                if said != result.dataset.clips[place].label:
                    wrong.setdefault(place, Counter())[said] += 1
    most = sorted(wrong, key=lambda place: (-wrong[place].total(), place))[:MOST_CLIPS]
    found = []
    for place in most:
        clip = result.dataset.clips[place]
        found.append(
            {
                "name": clip.name,
                "label": clip.label,
                "times": wrong[place].total(),
                "said": wrong[place].most_common(),
                "sound": _sound(result, place),
            }
        )
    return found


def _sound(result: Result, place: int) -> str:
    path, channels = result.dataset.clips[place].path, result.settings.channels
    waveform = media.load_waveform(path, channels=channels)[: MOST_SECONDS * SAMPLE_RATE]
    pcm = (waveform / PCM_TO_WAVEFORM).astype("int16")  # exact: it was 16-bit
    return pages.data_url(audio.encode(pcm, "mp3"), "audio/mpeg")
