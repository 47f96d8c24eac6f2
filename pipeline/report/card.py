"""A data card: what whoever gets a data set must know of it, with the report's figures.

The sections are those of Gebru et al., Datasheets for Datasets, 2018. What no program can know is
asked for at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import pages
from pages import markdown
from schemas.dataset_info import DatasetInfo

TOP = 10
"""Rows of a list that has more."""

ASKED = """\
- Who made it, who paid for it, who answers questions about it.
- How the list of videos came about, and what it leaves out.
- Whether the people who are seen and heard in it know, and what they can do to be taken out.
- Under which terms you hand it on; the videos' own are above as far as the list had them.
- Whether it will change, and how one hears of that."""


def card(name: str, found: dict, info: DatasetInfo, sha256: str) -> str:
    """The card in Markdown.

    Args:
        name: of the data set, for the title.
        found: what `report` found, as JSON has it.
        sha256: of `dataset_info.json`.
    """
    videos = found["videos"]
    parts = [
        f"# Data card: {markdown.escape(name)}",
        "",
        f"{_count(found['clips'], 'clip')} of at most {info.clip_seconds:g} s, "
        f"{pages.duration(3600 * found['hours'])} of sound from {_count(videos['done'], 'video')}, "
        f"with what {_count(len(info.teachers), 'vision network')} said of the pictures every "
        f"{info.step_seconds:g} s. Made by SoundNet's `python -m pipeline`; the figures are those "
        "of `python -m pipeline report`.",
        "",
        "## What for",
        "",
        "To teach a network that only hears the sound what networks see in the pictures. Nobody "
        "labelled anything: the targets are the teachers' probabilities, with their mistakes.",
        "",
        *_composition(found, info),
        *_collection(found),
        *_processing(found, info),
        *_limits(found, info),
        "## What it is known by",
        "",
        f"SHA-256 of `dataset_info.json`: `{sha256}`; schema version {info.schema_version}.",
        "",
        "## For whoever hands it on to say",
        "",
        ASKED,
    ]
    return "\n".join(parts) + "\n"


def _composition(found: dict, info: DatasetInfo) -> list[str]:
    lines = ["## What is in it", ""]
    lines += _table(
        ("split", "#videos", "#clips", "#hours", "#shards", "#size"),
        [
            (split, of["videos"], of["clips"], of["hours"], of["shards"], pages.size(of["bytes"]))
            for split, of in found["splits"].items()
        ],
    )
    lines += ["A video is in one split with all its clips.", ""]
    spreads = [
        ("seconds of sound, videos", found["lengths"]["videos"]),
        ("seconds of sound, clips", found["lengths"]["clips"]),
        ("loudness of clips, dB of full scale", found["loudness"]["clips"]),
    ]
    lines += _table(
        ("of each", "#least", "#5 %", "#median", "#95 %", "#most"),
        [
            (what, *(spread["quantiles"][at] for at in ("0", "5", "50", "95", "100")))
            for what, spread in spreads
            if spread["number"]
        ],
    )
    lines += _table(
        ("teacher", "network", "gives", "SHA-256 of its weights"),
        [
            (teacher.name, teacher.network, _target(teacher.target, teacher.classes),
             f"{teacher.sha256[:16]}…")
            for teacher in info.teachers
        ],
    )  # fmt: skip
    for teacher in found["teachers"]:
        if teacher["label_steps"]:
            lines += _seen(teacher, found["shards"])
    return lines


def _target(target: str, classes: Sequence[str]) -> str:
    if target == "distribution":
        return f"probabilities of {len(classes):,} classes"
    return f"embeddings of {len(classes):,} numbers"


def _seen(teacher: dict, shards: dict) -> list[str]:
    bits, classes = teacher["entropy_bits"], teacher["classes"]
    part = "" if shards["read"] == shards["of"] else f" ({shards['read']} of {shards['of']} shards)"
    return [
        f"What {markdown.escape(teacher['name'])} saw in "
        f"{_count(teacher['label_steps'], 'label step')}{part}: "
        f"{teacher['classes_never_seen']:,} of {len(classes):,} classes are never the likeliest; "
        f"the likeliest has {pages.percent(teacher['mean_confidence'])} in the mean; entropy "
        f"{bits['of_the_mean']:.2f} bits of at most {bits['most']:.2f}.",
        "",
        *_table(
            ("class", "#label steps", "#clips", "#mean probability"),
            [
                (of["name"], of["label_steps"], of["clips"], pages.percent(of["mean_probability"]))
                for of in classes[:TOP]
                if of["label_steps"]
            ],
        ),
    ]


def _collection(found: dict) -> list[str]:
    videos = found["videos"]
    total = videos["done"] + videos["failed"]
    lines = ["## Where it is from", ""]
    lines += [
        f"Of {_count(total, 'video')} on the list {videos['done']:,} are in it and "
        f"{videos['failed']:,} are not; the ledgers name each with its cause.",
        "",
    ]
    lines += _table(("host", "#videos"), _most(found["hosts"], "host"))
    lines += _table(("licence, as the list says", "#videos"), _most(found["licenses"], "license"))
    if not any(of["license"] for of in found["licenses"]):
        lines += ["The list says nothing of licences (a column `license` would).", ""]
    lines += _table(
        ("lost for", "#videos", "which means"),
        [(lost["cause"], lost["videos"], lost["meaning"]) for lost in found["causes"]],
    )
    return lines


def _most(rows: Sequence[dict], name: str) -> list[tuple[str, int]]:
    shown = [(row[name] or "(not said)", row["videos"]) for row in rows[:TOP]]
    if rest := rows[TOP:]:
        shown.append((f"{len(rest):,} others", sum(row["videos"] for row in rest)))
    return shown


def _processing(found: dict, info: DatasetInfo) -> list[str]:
    channels = {"downmix": "the channels' mean", "first": "the first channel"}[info.channels]
    pictures = {
        "keyframes": "a key frame of the step or of shortly before",
        "exact": "the one at the step's middle",
    }[info.pictures]
    codec = {"flac": "FLAC, lossless", "mp3": "MP3", "pcm": "16-bit PCM"}[info.audio_codec]
    dropped = ", ".join(f"{cause} {number:,}" for cause, number in found["dropped"].items())
    versions: dict[str, list[str]] = {}
    for run in info.runs:
        for program, version in run.versions.items():
            numbers = versions.setdefault(program, [])
            if version not in numbers:
                numbers.append(version)
    made = ", ".join(f"{program} {' and '.join(of)}" for program, of in versions.items())
    return [
        "## What was done to it",
        "",
        f"- Sound: mono ({channels}), {info.sample_rate:,} Hz, 16 bits, as {codec}.",
        f"- Pictures: one a label step, {pictures}; "
        + ("kept in the records as JPEG." if info.frames else "seen by the teachers, not kept."),
        "- A label step counts if sound and pictures are there for at least half of it.",
        f"- Clips left out by the gates: {dropped or 'none'}.",
        f"- Made with {markdown.escape(made)}." if made else "- Made with versions unknown.",
        "",
    ]


def _limits(found: dict, info: DatasetInfo) -> list[str]:
    facts = found["facts"]
    lines = [
        "## Uses and limits",
        "",
        "- For learning representations of sound. The teachers' words are no labels: don't judge "
        "by them.",
        "- What sounds and isn't seen, and what is seen and doesn't sound, is learnt all the same.",
        "- People may be heard"
        + (" and seen" if info.frames else "")
        + " in it; ids and addresses of the videos stand in the records and in the ledgers.",
        "- Videos of one person or place may lie in several splits; only clips of one video may "
        "not.",
    ]
    if facts["clips"]:
        lines.append(
            f"- In it are {facts['silent']:,} silent clips, {facts['still']:,} of a still picture, "
            f"and {facts['duplicates']:,} that repeat another's samples."
        )
    if found["damage"]:
        lines.append(f"- {len(found['damage']):,} of its files could not be read in whole.")
    return [*lines, ""]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str | float]]) -> list[str]:
    """A table and an empty line; nothing where there are no rows. Columns of numbers begin
    with #."""
    if not rows:
        return []
    cells = [
        [cell if isinstance(cell, str) else pages.number(cell) for cell in row] for row in rows
    ]
    right = [column.startswith("#") for column in columns]
    return [*markdown.table([column.lstrip("#") for column in columns], cells, right), ""]
