"""What came out beside what the paper prints, and what the page shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import soundnet
from evaluation import paper
from evaluation.clips import Clips
from evaluation.exhibits import Exhibits
from evaluation.multimodal import judging, labels, maps, videos
from evaluation.multimodal.judging import Judgement, Senses
from evaluation.multimodal.videos import CLASSES, Video
from evaluation.progress import bars
from evaluation.report import Cell, Column, Report, Table
from schemas import SchemaError


@dataclass(frozen=True)
class Settings:
    """What to judge.

    Attributes:
        data: a data set that `python -m pipeline` made, local or gs://.
        labels: a CSV file or a column, see `labels.read`.
        weights: see `soundnet.load_model`.
        folds: of the cross-validation.
        cache: for features.
    """

    data: str
    labels: str
    weights: str
    folds: int
    cache: Path


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        videos: those that were judged, by id; `small` are the labels left out, by their videos.
        labelled: how many labels there were, of videos in the data set or not.
        judgements: by the name of what the classifiers got.
        maps: by `seen` and `heard`.
    """

    settings: Settings
    model: soundnet.TrainedSoundNet
    clips: Clips
    videos: list[Video]
    small: dict[str, int]
    labelled: int
    judgements: dict[str, Judgement]
    maps: dict[str, np.ndarray]

    def right(self, name: str) -> np.ndarray:
        """Which videos were named rightly: bool (videos,)."""
        truth = [video.label.label for video in self.videos]
        return np.array(self.judgements[name].answers) == np.array(truth)


def evaluate(settings: Settings) -> Result:
    """Judge, start to finish; shows its progress on stderr.

    Raises:
        DatasetError, SchemaError, soundnet.WeightsError: what is to be judged can't be used.
    """
    clips = Clips(settings.data)
    known = labels.read(settings.labels, settings.data, clips.info)
    model = soundnet.load_model(settings.weights)
    every = videos.gather(clips, known, model, settings.cache)
    judged, small = judging.enough(every, settings.folds)
    layers, visions = videos.layers_of(model), list(judged[0].seen)
    senses = [
        *(Senses(layer) for layer in layers),
        *(Senses(vision=vision) for vision in visions),
        *(Senses(layer, vision) for vision in visions for layer in layers),
    ]
    with bars() as progress:
        bar = progress.add_task("folds", total=len(senses) * settings.folds)
        found = judging.judge(judged, senses, settings.folds, lambda: progress.advance(bar))
    places = {"seen": maps.seen(judged, visions[0]), "heard": maps.heard(judged, layers[0])}
    judgements = {judgement.senses.name: judgement for judgement in found}
    return Result(settings, model, clips, judged, small, len(known), judgements, places)


def report(result: Result) -> Report:
    """The tables, and each video's answers for JSON."""
    return Report(
        name="multimodal",
        title="What is heard and what is seen",
        tables=[_accuracies(result), _together(result), _labels(result)],
        notes=_notes(result),
        settings={"folds": result.settings.folds, "costs": list(judging.COSTS)},
        weights={"name": result.settings.weights, "sha256": result.model.sha256},
        details={
            "unreadable": result.clips.unreadable,
            "left_out": result.small,
            "costs": {name: found.costs for name, found in result.judgements.items()},
            "videos": [
                {
                    "video_id": video.video_id,
                    "label": video.label.label,
                    "group": video.label.group,
                    "clips": video.clips,
                    "answers": {
                        name: found.answers[at] for name, found in result.judgements.items()
                    },
                    **{name: places[at].tolist() for name, places in result.maps.items()},
                }
                for at, video in enumerate(result.videos)
            ],
        },
    )


def _accuracies(result: Result) -> Table:
    number = len(result.videos)
    rows: list[tuple[Cell, ...]] = []
    eight = result.model.network.depth == 8
    for name, found in result.judgements.items():
        senses, correct = found.senses, int(result.right(name).sum())
        printed = eight and senses.vision in ("", CLASSES)
        rows.append(
            (
                senses.kind,
                name,
                100 * correct / number,
                *judging.interval(correct, number),
                paper.multimodal(senses.kind, senses.layer) if printed else None,
            )
        )
    counts = Counter(video.label.label for video in result.videos)
    rows.append(("chance", "any label alike", 100 / len(counts), None, None, None))
    largest, most = counts.most_common(1)[0]
    rows.append(("chance", f"always {largest}", 100 * most / number, None, None, None))
    columns = (
        *(Column("by"), Column("features"), Column("accuracy", 1)),
        *(Column("from", 1), Column("to", 1), Column("paper, VGG teachers")),
    )
    return Table(
        "accuracies",
        f"Accuracy in percent, {number} videos of {len(counts)} labels",
        columns,
        rows,
        "From, to: the 95 % confidence interval. The paper's figures are of other videos, about "
        "4,000 of 44 labels: they show the order to expect, not a mark to reach.",
    )


def _together(result: Result) -> Table:
    """Whether sound adds to vision, video by video."""
    rows = []
    for name, found in result.judgements.items():
        if found.senses.kind == "both":
            both, seen = result.right(name), result.right(found.senses.vision)
            better, worse = int((both & ~seen).sum()), int((seen & ~both).sum())
            heard = result.right(found.senses.layer)
            rows.append(
                (
                    *(name, better, worse, judging.by_chance(better, worse)),
                    *(int((heard & ~seen).sum()), int((heard | seen).sum())),
                )
            )
    columns = (
        *(Column("features"), Column("right, vision alone wrong"), Column("wrong, vision right")),
        *(Column("by chance", 3), Column("sound alone right, vision wrong")),
        Column("right by one at least"),
    )
    return Table(
        "together",
        "What sound adds to vision, in videos",
        columns,
        rows,
        "By chance: how probable so unequal counts are if sound added nothing (McNemar's test).",
    )


def _labels(result: Result) -> Table:
    names = list(result.judgements)
    counts = Counter(video.label.label for video in result.videos)
    groups = {video.label.label: video.label.group for video in result.videos}
    truth = np.array([video.label.label for video in result.videos])
    rows: list[tuple[Cell, ...]] = [
        (
            *(label, groups[label], number),
            *(100 * float(result.right(name)[truth == label].mean()) for name in names),
        )
        for label, number in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    ]
    columns = (
        *(Column("label"), Column("group"), Column("videos")),
        *(Column(name, 0) for name in names),
    )
    return Table("labels", "By label, percent named rightly", columns, rows)


def _notes(result: Result) -> list[str]:
    number = len(result.videos)
    notes = [
        "Heard: a layer's mean over time and over a video's clips. Seen: the mean of what the "
        f"teachers said of its frames: {CLASSES}, all their distributions; other names are "
        "teachers of embeddings",
        f"Linear SVMs (L2, squared hinge), each sense standardised; {result.settings.folds} folds "
        f"of videos, a video's clips together; C from {judging.INNER} folds of the training videos",
        f"{number} videos judged; the list labels {result.labelled}",
    ]
    if result.small:
        words = ", ".join(f"{label} ({n})" for label, n in result.small.items())
        notes.append(
            f"Left out, with fewer than {result.settings.folds} videos, one for each fold: {words}"
        )
    if number < 400:
        notes.append(
            f"{number} videos are few: differences of less than about "
            f"{100 / np.sqrt(number):.0f} points between two rows may be chance"
        )
    return notes + [f"Unreadable: {at}: {why}" for at, why in result.clips.unreadable.items()]


def for_page(result: Result, megabytes: float) -> tuple[dict, Exhibits]:
    """What the page's script gets, and the first clip of each video to look at and hear."""
    exhibits = Exhibits(round(megabytes * 1e6))
    colours = maps.colours([video.label.group for video in result.videos])
    points = []
    with bars() as progress:
        tracked = progress.track(list(enumerate(result.videos)), description="page")
        for at, video in tracked:
            try:
                clip = exhibits.add(result.clips.at(video.first), pictures=1)
            except SchemaError as error:  # it could be read a moment ago
                result.clips.unreadable[video.video_id] = str(error)
                continue
            points.append(
                {
                    "clip": clip,
                    "label": video.label.label,
                    "group": video.label.group,
                    **{name: places[at].round(4).tolist() for name, places in result.maps.items()},
                    "answers": [found.answers[at] for found in result.judgements.values()],
                }
            )
    data = {
        "clips": exhibits.clips,
        "points": points,
        "colours": colours,
        "senses": list(result.judgements),
    }
    return data, exhibits
