"""A report on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

import pages
from pipeline.report.compare import KINDS

ROWS = 10
"""Rows of a long list that are shown; the page has more, JSON all."""


def show(found: dict, console: Console) -> None:
    """The report as tables. What strangers wrote is shown without control characters."""
    videos = found["videos"]
    total = videos["done"] + videos["failed"]
    lines = [
        f"{found['data']}: {pages.number(total)} videos, {pages.number(videos['done'])} done, "
        f"{pages.number(videos['failed'])} failed; {pages.number(found['clips'])} clips, "
        f"{pages.duration(3600 * found['hours'])} of sound; {pages.size(found['bytes'])} of media "
        f"files, {pages.size(found['bytes_downloaded'])} downloaded"
    ]
    if found["under_way"]:
        lines.append(
            "A run is at work, or was broken off; what it has not finished is not in here."
        )
    stages = [f"{stage} {pages.number(n)}" for stage, n in found["stages"].items() if n]
    tries = [f"{times}: {pages.number(n)}" for times, n in found["attempts"].items()]
    lines += [f"Last stage reached: {', '.join(stages)}. Videos by tries: {', '.join(tries)}."]
    for line in lines:
        console.print(_plain(line), soft_wrap=True)

    _table(
        console,
        "Splits",
        ("split", "#videos", "#clips", "#hours", "#shards", "#size"),
        [
            (split, of["videos"], of["clips"], of["hours"], of["shards"], pages.size(of["bytes"]))
            for split, of in found["splits"].items()
        ],
    )
    _show_causes(found, console)
    _show_facts(found, console)
    for what, names in (
        ("lengths", "Seconds of sound"),
        ("loudness", "Loudness, dB of full scale"),
    ):
        for of, spread in found[what].items():
            _show_spread(f"{names}, {of}", spread, console)
    for teacher in found["teachers"]:
        _show_teacher(teacher, found["shards"], console)
    _table(
        console,
        "Speed",
        ("stage", "of", "#time", "#videos", "#videos/s", "#hours/h", "#bytes/s"),
        [
            (
                *(
                    stage["stage"],
                    {"videos": "a thread", "runs": "all runs"}[stage["measured"]],
                ),
                *(pages.duration(stage["seconds"]), stage["videos"], stage["videos_per_second"]),
                *(stage["hours_per_hour"], pages.size(stage["bytes_per_second"])),
            )
            for stage in found["throughput"]
        ],
        empty="No times by stage: the ledgers were made by an older version.",
    )
    if found["compare"]:
        _show_comparison(found["compare"], console)
    if found["damage"]:
        _table(
            console,
            "Could not be read",
            ("file", "#times", "the first time"),
            [(fault["file"], fault["number"], fault["message"]) for fault in found["damage"]],
        )


def _show_causes(found: dict, console: Console) -> None:
    if not found["causes"]:
        return
    rows, said = [], []
    for lost in found["causes"]:
        names = ", ".join(example["video_id"] for example in lost["examples"][:3])
        rows.append((lost["cause"], lost["videos"], lost["meaning"], names))
        said += [
            (lost["cause"], message["videos"], message["message"])
            for message in lost["messages"][:3]
            if message["message"]
        ]
    _table(console, "Failed", ("cause", "#videos", "meaning", "such as"), rows)
    _table(console, "What was said most", ("cause", "#videos", "message"), said)


def _show_facts(found: dict, console: Console) -> None:
    facts, dropped = found["facts"], found["dropped"]
    near = facts["near_duplicates"] if facts["clips_likened"] else None
    measured = {
        "silent": facts["silent"],
        "static": facts["still"],
        "duplicate": facts["duplicates"],
        "near_duplicate": near,
    }
    _table(
        console,
        "Quality",
        ("clips that are", "#in the records", "#left out"),
        [
            (cause, number if facts["clips"] else None, dropped.get(cause, 0))
            for cause, number in measured.items()
        ],
    )
    if facts["clips_without"]:
        console.print(
            f"Of {pages.number(facts['clips_without'])} clips the ledgers, made by an older "
            "version, say nothing: neither loudness nor motion nor duplicates.",
            soft_wrap=True,
        )
    for same in facts["duplicate_clips"][:3]:
        console.print(_plain(f"The same sound: {', '.join(same[:5])}"), soft_wrap=True)


def _show_spread(title: str, spread: dict, console: Console) -> None:
    bins = spread["bins"]
    filled = [at for at, bin_ in enumerate(bins) if bin_["count"]]
    if not filled:
        return
    most = max(bin_["count"] for bin_ in bins)
    quantiles = spread["quantiles"]
    _table(
        console,
        f"{title}: median {quantiles['50']:g}, nine tenths from {quantiles['5']:g} to "
        f"{quantiles['95']:g}",
        (f"#{spread['unit']}", "#", ""),
        [
            (
                pages.bin_name(bin_["from"], bin_["to"], spread["unit"]),
                bin_["count"],
                "█" * round(40 * bin_["count"] / most) or "▏" * (bin_["count"] > 0),
            )
            for bin_ in bins[filled[0] : filled[-1] + 1]
        ],
    )


def _show_teacher(teacher: dict, shards: dict, console: Console) -> None:
    if not teacher["label_steps"]:
        return
    bits = teacher["entropy_bits"]
    classes = teacher["classes"]
    words = (
        f"{teacher['name']} ({teacher['network']}): {pages.number(teacher['label_steps'])} label "
        f"steps of {pages.number(teacher['clips'])} clips; {teacher['classes_never_seen']} of "
        f"{len(classes)} classes never the likeliest; entropy {bits['of_the_mean']:.2f} bits of at "
        f"most {bits['most']:.2f}, of a label step {bits['mean']:.2f}; the likeliest has "
        f"{pages.percent(teacher['mean_confidence'])} in the mean"
    )
    if shards["read"] < shards["of"]:
        words += f" (from {shards['read']} of {shards['of']} shards)"
    _table(
        console,
        words,
        ("class", "#label steps", "#clips", "#mean probability"),
        [
            (of["name"], of["label_steps"], of["clips"], pages.percent(of["mean_probability"]))
            for of in classes[:ROWS]
            if of["label_steps"]
        ],
    )


def _show_comparison(found: dict, console: Console) -> None:
    title = (
        f"Compared with {found['there']}: {pages.number(found['videos_equal'])} videos are the "
        f"same, of {pages.number(found['videos_here'])} here and "
        f"{pages.number(found['videos_there'])} there"
    )
    rows = [(f"{split} clips", of["here"], of["there"]) for split, of in found["splits"].items()]
    rows += [(of["name"], _value(of["here"]), _value(of["there"])) for of in found["settings"]]
    rows += [
        (f"{of['teacher']}: {of['name']}", _value(of["here"]), _value(of["there"]))
        for of in found["teachers"]
    ]
    _table(console, title, ("made with", "here", "there"), rows)
    for kind, name in KINDS.items():
        videos = found["videos"][kind]
        rows = [
            (video["video_id"], _side(video["here"], kind), _side(video["there"], kind))
            for video in videos[:ROWS]
        ]
        if left := len(videos) - len(rows):
            rows.append((f"and {pages.number(left)} more", "", ""))
        if rows:
            _table(console, f"{pages.number(len(videos))} {name}", ("video", "here", "there"), rows)


def _value(value: object) -> str:
    return "–" if value is None else str(value)


def _side(side: dict | None, kind: str) -> str:
    """What one data set has of a video, in a line."""
    if side is None:
        return "–"
    if kind == "other_address":
        return side["url"]
    if side["cause"]:
        return f"{side['cause']}: {side['message']}"
    return f"done, {side['split']}, {side['clips']} clip{'s' * (side['clips'] != 1)}"


def _table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence], empty: str = ""
) -> None:
    """A table; names of columns of numbers start with #."""
    if not rows and not empty:
        return
    console.print(f"\n{_plain(title)}", style="bold", soft_wrap=True)
    if not rows:
        console.print(empty, soft_wrap=True)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(
            column.lstrip("#"),
            justify="right" if column.startswith("#") else "left",
            overflow="fold",
            no_wrap=column.startswith("#"),
        )
    for row in rows:
        table.add_row(
            *(_plain(cell if isinstance(cell, str) else pages.number(cell)) for cell in row)
        )
    console.print(table)


def _plain(text: str) -> str:
    """Text without what would steer a terminal or turn the writing round."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
