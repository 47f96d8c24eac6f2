"""The sections of a model card, after Mitchell et al., Model Cards for Model Reporting, 2018."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pages
from evaluation.card.facts import Facts, changed, said
from evaluation.report import Column, Table, markdown_table
from pages import markdown
from schemas.dataset_info import DatasetInfo
from schemas.waveform import SAMPLE_RATE, WAVEFORM_PEAK
from soundnet import hear, weights
from trainer.config import option
from trainer.supervised.config import LabelConfig

PAPER = (
    "Y. Aytar, C. Vondrick, A. Torralba: SoundNet: Learning Sound Representations from Unlabeled "
    "Video, NIPS 2016, arXiv 1610.09001"
)

PUBLISHED_DATA = """\
About two million videos from Flickr, a year of sound, as the paper tells; 140,000 more to validate.
Nobody labelled them: the targets are what two VGG16 networks said of a picture every 5 s, one
trained on ImageNet (1,000 objects), one on Places2 (401 scenes). The authors published the
addresses and, for a time, the sounds and these targets; many of the videos are gone."""

PUBLISHED_TRAINING = """\
As the authors' code says: clips of 20 s, first channel, batches of 64, 100,000 steps of Adam at
1e-3, KL divergence times 250. `trainer/config.py` lists the recipe with its sources."""

LIMITS = f"""\
- It hears {SAMPLE_RATE:,} Hz, so nothing above {SAMPLE_RATE / 2000:g} kHz, and one channel, so no
  direction.
- The scale matters: ±{WAVEFORM_PEAK:g} for full scale. `soundnet` sees to it; who feeds the network
  otherwise must.
- What it names is what the picture would likely show: a class may be seen and not heard, and the
  probabilities are not calibrated. Quiet or unusual sound gives likely-looking names all the same.
- It learnt from videos that people chose to upload and from teachers that learnt from photographs;
  what these show rarely or in one way only, it knows badly."""


def card(facts: Facts, terms: str = "") -> str:
    """The card in Markdown.

    Args:
        terms: under which the network is handed on.
    """
    parts = [
        f"# Model card: {markdown.escape(facts.name)}",
        "",
        f"A SoundNet of {facts.depth} layers: the waveform of a sound in, over time "
        f"{_all(f'{what} (`{head}`)' for head, what in facts.heads.items())} out, and what each "
        "layer computes, as features for other tasks.",
        "",
        *_model(facts),
        *_use(facts),
        *_training(facts),
        *_figures(facts),
        *("## Limits", "", LIMITS),
        f"- Of less than {facts.shortest:.2f} s of sound its heads say nothing; `soundnet` repeats "
        "shorter sounds until they do.",
        "",
        *_terms(facts, terms),
    ]
    return "\n".join(parts) + "\n"


def _model(facts: Facts) -> list[str]:
    rows = [
        (name, values, round(1000 * hop, 1), round(hears, 3))
        for name, values, hop, hears in facts.layers
    ]
    columns = ("layer", "values a step", "a step every, ms", "a step hears, s")
    return [
        "## The network",
        "",
        f"- {facts.parameters:,} numbers; SHA-256 of the weights `{facts.sha256}`, by name, shape "
        "and value (`soundnet weights show` prints it).",
        f"- In: float32, mono, {SAMPLE_RATE:,} Hz, -{WAVEFORM_PEAK:g} to {WAVEFORM_PEAK:g}, of any "
        "length.",
        f"- {PAPER}.",
        "",
        *_table(Table("layers", "", tuple(map(Column, columns)), rows)),
    ]


def _use(facts: Facts) -> list[str]:
    load = "" if facts.published else f'"{facts.name}"'
    first = next(iter(facts.heads))
    names = first in facts.heads and facts.heads[first].startswith("probabilities")
    lines = ["import soundnet", "", f"model = soundnet.load_model({load})"]
    if names:
        lines.append(f'print(model.predict("dog.ogg")["{first}"].top(3))')
    layer, _ = hear.LAYERS[facts.depth]
    lines.append(f'print(model.embed("dog.ogg", layer="{layer}").values.shape)')
    return [
        "## Use",
        "",
        "```python",
        *lines,
        "```",
        "",
        "For: features for recognising, searching and grouping sounds; a first guess at what a "
        "sound goes with; research.",
        "",
        "Not for: decisions about people, alarms that somebody relies on, recognising speakers or "
        "speech. None of this was tried.",
        "",
    ]


def _training(facts: Facts) -> list[str]:
    lines = ["## What it learnt from", ""]
    if facts.published:
        return [*lines, PUBLISHED_DATA, "", "## How it was trained", "", PUBLISHED_TRAINING, ""]
    if facts.data:
        lines += _data(facts.data, facts.data_sha256)
    elif isinstance(facts.training, LabelConfig):
        lines += _labels(facts.training, facts.summary)
    else:
        lines += ["Not told: there is no data set beside it to read.", ""]
    lines += ["## How it was trained", ""]
    if facts.training is None:
        return [*lines, "Not told: no `config.json` lies beside it.", ""]
    recipe = "the published recipe"
    if isinstance(facts.training, LabelConfig):
        recipe = f"`python -m trainer.task --task {facts.training.task}`, with its defaults"
    differing = [
        f"`{option(name)}{'' if value is True else f' {said(value)}'}`"
        for name, value in changed(facts.training).items()
    ]
    lines.append(f"By {recipe}" + (f", but for {_all(differing)}." if differing else "."))
    return [*lines, "", *_outcome(facts.summary)]


def _data(info: DatasetInfo, sha256: str) -> list[str]:
    rows = [
        (split, sum(shard.records for shard in shards), pages.size(sum(s.bytes for s in shards)))
        for split, shards in info.splits.items()
    ]
    teachers = [
        (teacher.name, teacher.network, len(teacher.classes), f"{teacher.sha256[:16]}…")
        for teacher in info.teachers
    ]
    return [
        f"Clips of at most {info.clip_seconds:g} s, a label step every {info.step_seconds:g} s; "
        f"SHA-256 of `dataset_info.json` `{sha256}`. Its own card: `python -m pipeline report "
        "DIR --card DATA_CARD.md`.",
        "",
        *_table(Table("splits", "", tuple(map(Column, ("split", "clips", "size"))), rows)),
        *_table(
            Table(
                "teachers",
                "",
                tuple(map(Column, ("teacher", "network", "values", "SHA-256 of its weights"))),
                teachers,
            )
        ),
    ]


def _labels(training: LabelConfig, summary: dict) -> list[str]:
    number, classes = summary.get("sounds", 0), summary.get("classes", [])
    lines = [f"{number:,} sounds that people gave one of {len(classes):,} labels."]
    if training.weights:
        lines.append(f"Before that it was `{Path(training.weights).name}`.")
    return [" ".join(lines), ""]


def _outcome(summary: dict) -> list[str]:
    """The last losses, or accuracies, as a table."""
    rows = []
    for split in ("train", "validation"):
        losses = summary.get(split)
        if isinstance(losses, dict) and isinstance(losses.get("loss"), (int, float)):
            rows.append((split, round(losses["loss"], 4)))
    lines = _table(Table("loss", "", (Column("loss at the end"), Column("value", 4)), rows))
    if isinstance(accuracy := summary.get("accuracy"), (int, float)):
        lines += [f"Of what was held out {accuracy:.2f} % were named rightly.", ""]
    if damaged := summary.get("damaged"):
        lines += [f"{len(damaged):,} damaged records were passed over.", ""]
    return lines


def _figures(facts: Facts) -> list[str]:
    lines = ["## How good it is", ""]
    if not facts.results:
        lines += ["Not measured (`--results` takes what `python -m evaluation` wrote).", ""]
    for result in facts.results:
        lines += [f"### {markdown.escape(result.title)}", ""]
        for table in result.tables:
            lines += [f"{markdown.escape(table.title)}:", "", *_table(table)]
        lines += [f"Measured with {markdown.escape(result.made)}.", ""]
    return lines


def _table(table: Table) -> list[str]:
    """A table, its note and an empty line; nothing where there are no rows."""
    if not table.rows:
        return []
    return [*markdown_table(table), "", *([markdown.escape(table.note), ""] if table.note else [])]


def _terms(facts: Facts, terms: str) -> list[str]:
    if facts.published:
        terms = terms or (
            "MIT, as the package says that the weights come in "
            f"(`{weights.REQUIREMENT}`, its `sound8.npy` has the SHA-256 `{weights.MEMBER_SHA256}`)"
        )
    elif terms:
        terms = markdown.escape(terms)
    return [
        "## Terms",
        "",
        f"- The network: {terms or 'not told (`--license`)'}.",
        "- The videos that it learnt from are their makers'; the teachers' weights and the data "
        "sets that it was judged with have terms of their own.",
        "",
        "Made by `python -m evaluation card`.",
    ]


def _all(words: Iterable[str]) -> str:
    *before, last = words
    return f"{', '.join(before)} and {last}" if before else last
