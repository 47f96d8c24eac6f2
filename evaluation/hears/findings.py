"""What was found, as tables, as JSON, and as what the page's script gets."""

from __future__ import annotations

from collections import defaultdict

from evaluation.clips import Place
from evaluation.exhibits import Exhibits
from evaluation.hears.filters import Filter
from evaluation.hears.moments import Moment
from evaluation.hears.study import Layer, Result
from evaluation.progress import bars
from evaluation.report import Column, Report, Table
from schemas import SchemaError
from schemas.waveform import SAMPLE_RATE

BEST = 30
"""Units in the table of names."""


def moments_of(layer: Layer, unit: int) -> list[Moment]:
    """A unit's moments; what a ReLU didn't let through is none."""
    return layer.moments.of(unit) if layer.classes else layer.moments.of(unit, above=0)


def gather(result: Result, megabytes: float) -> tuple[Exhibits, dict[Place, int]]:
    """The clips that units' moments lie in, read again, for the page.

    Those in which many units have their first moments come first, as there may not be room for all.

    Returns:
        The clips, and the number of each by its place.
    """
    weights: defaultdict[Place, float] = defaultdict(float)
    for layer in result.layers:
        for unit in range(layer.units):
            for rank, moment in enumerate(moments_of(layer, unit), 1):
                weights[moment.place] += 1 / rank
    exhibits, numbers = Exhibits(round(megabytes * 1e6)), {}
    order = sorted(weights, key=lambda place: (-weights[place], place))
    with bars() as progress:
        for place in progress.track(order, description="page"):
            try:
                numbers[place] = exhibits.add(result.clips.at(place))
            except SchemaError as error:  # it could be read a moment ago
                result.clips.unreadable[f"{place}"] = str(error)
    return exhibits, numbers


def for_page(result: Result, exhibits: Exhibits, numbers: dict[Place, int]) -> dict:
    """What the page's script gets. Times are in seconds of the clip, repeated where it is short.

    Of each unit `moments` are (clip, step, value) one after the other, `names` per teacher (class,
    correlation) one after the other.
    """
    layers = []
    for layer in result.layers:
        start, end = layer.window(0)
        moments = [
            [
                part
                for moment in moments_of(layer, unit)
                if moment.place in numbers
                for part in (numbers[moment.place], moment.step, float(f"{moment.value:.4g}"))
            ]
            for unit in range(layer.units)
        ]
        names = {
            teacher: [
                [part for name in unit for part in (name.index, round(name.correlation, 3))]
                for unit in units
            ]
            for teacher, units in layer.names.items()
        }
        layers.append(
            {
                "name": layer.name,
                "units": layer.units,
                "classes": layer.classes,
                "hop": layer.hop / SAMPLE_RATE,
                "from": start,
                "hears": end - start,
                "share": layer.name in result.model.heads
                and layer.name not in result.model.network.embeddings,
                "moments": moments,
                "names": names,
                "chance": layer.chance,
            }
        )
    classes = {teacher.name: teacher.classes for teacher in result.clips.info.classifiers}
    return {"layers": layers, "clips": exhibits.clips, "classes": classes}


def report(result: Result, filters: list[Filter], page: dict) -> Report:
    """The tables, and everything for JSON.

    Args:
        page: what the page's script gets.
    """
    return Report(
        name="hears",
        title="What the network hears",
        tables=[_layers(result), _names(result), _filters(filters)],
        notes=_notes(result),
        settings={
            "top": result.settings.top,
            "layers": [layer.name for layer in result.layers],
            "shards": result.settings.shards or "all",
        },
        weights={"name": result.settings.weights, "sha256": result.model.sha256},
        details={
            "clips": result.heard,
            "seconds": round(result.seconds, 3),
            "unreadable": result.clips.unreadable,
            "label_steps": result.label_steps,
            "classes_that_may_be_names": result.named,
            "units": page,
        },
    )


def _layers(result: Result) -> Table:
    columns = (
        *(Column("layer"), Column("units"), Column("hears, ms", 1), Column("every, ms", 1)),
        *(Column("moved by nothing"), Column("with a name")),
    )
    rows = []
    for layer in result.layers:
        named = sum(bool(_name(layer, unit)) for unit in range(layer.units))
        rows.append(
            (
                layer.name,
                layer.units,
                1000 * layer.hears / SAMPLE_RATE,
                1000 * layer.hop / SAMPLE_RATE,
                sum(not moments_of(layer, unit) for unit in range(layer.units)),
                None if layer.classes else named,
            )
        )
    return Table("layers", "The layers", columns, rows)


def _name(layer: Layer, unit: int) -> tuple[float, str, int, float] | None:
    """(correlation above chance, teacher, class, correlation) of a unit's best name."""
    found = [
        (best[0].correlation - layer.chance[teacher], teacher, best[0].index, best[0].correlation)
        for teacher, units in layer.names.items()
        if (best := units[unit]) and best[0].correlation > layer.chance[teacher]
    ]
    return max(found, default=None)


def _names(result: Result) -> Table:
    classes = {teacher.name: teacher.classes for teacher in result.clips.info.classifiers}
    found = sorted(
        (
            (name, layer, unit)
            for layer in result.layers
            for unit in range(layer.units)
            if (name := _name(layer, unit))
        ),
        key=lambda one: -one[0][0],
    )
    rows = [
        (
            f"{layer.name} {unit}",
            classes[teacher][index],
            teacher,
            correlation,
            layer.chance[teacher],
        )
        for (_, teacher, index, correlation), layer, unit in found[:BEST]
    ]
    columns = (
        *(Column(name) for name in ("unit", "class", "teacher")),
        *(Column(name, 2) for name in ("correlation", "by chance")),
    )
    return Table(
        "names",
        f"The units with the surest names, {len(rows)} of {len(found)}",
        columns,
        rows,
        "Correlation of log(1 + a unit's mean activation over a label step) with the probability "
        "that the teacher, who only sees, gives the class. By chance, with the labels moved to "
        "other clips, 99 of 100 units of the layer stay below the last column.",
    )


def _filters(filters: list[Filter]) -> Table:
    columns = ("unit of conv1", "centre, Hz", "from, Hz", "to, Hz", "width, Hz")
    return Table(
        "filters",
        "The filters of conv1",
        (Column(columns[0]), *(Column(name, 0) for name in columns[1:])),
        [(f"{one.unit}", one.centre, one.low, one.high, one.bandwidth) for one in filters],
        "Centre: where the filter answers most. From, to: where it answers with half that power.",
    )


def _notes(result: Result) -> list[str]:
    clips = result.clips
    notes = [
        f"{result.heard} clips, {result.seconds / 60:.1f} minutes of sound, in "
        f"{len(clips.shards)} of {sum(map(len, clips.info.splits.values()))} shards; a clip "
        "shorter than 20 s is repeated up to that length, as the network learnt it",
        "A unit's moments: where its output is greatest, at most one a clip; of a class its "
        "probability",
    ]
    notes += [
        f"{teacher}: {result.label_steps[teacher]} label steps; {number} classes are the likeliest "
        "in at least 3 videos, and only these can be names"
        for teacher, number in result.named.items()
    ]
    if clips.unreadable:
        notes.append(f"Could not be read: {len(clips.unreadable)}")
    notes += [f"Unreadable: {where}: {why}" for where, why in clips.unreadable.items()]
    return notes
