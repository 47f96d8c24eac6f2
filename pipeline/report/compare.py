"""Two data sets beside each other: which videos differ and why, and what they were made with."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Sequence

import numpy as np

from pipeline.report.ledgers import Faults, last_words, short_hash
from pipeline.store import Store
from schemas.dataset_info import DatasetInfo
from schemas.ledger import DONE, LedgerRow

KINDS = {
    "only_here": "only here",
    "only_there": "only there",
    "failed_there": "done here, failed there",
    "failed_here": "failed here, done there",
    "other_cause": "failed in both, for different causes",
    "other_split": "in another split",
    "other_clips": "another number of clips",
    "other_sound": "as many clips, but of other sound",
    "other_address": "from another address",
}
"""How a video can differ; one may differ in several of the later ways."""


def compare(
    here: Store, there: Store, infos: tuple[DatasetInfo, DatasetInfo], faults: Faults
) -> dict:
    """What differs between two data sets, for JSON.

    Takes memory for some hashes of each video, and for what is told of those that differ.

    Args:
        faults: takes what could not be read there; of what is here the caller knows already.
    """
    runs = infos[0].runs, infos[1].runs
    their_faults = Faults()
    ours, theirs = _sums(here, runs[0], Faults()), _sums(there, runs[1], their_faults)
    for file, (number, message) in their_faults.files.items():
        faults.add(there.path(file), message, number)
    keys, at_ours, at_theirs = np.intersect1d(ours["id"], theirs["id"], return_indices=True)
    left, right = ours[at_ours], theirs[at_theirs]
    sounds_differ = (left["sound"] != right["sound"]) & (left["sound"] != 0) & (right["sound"] != 0)
    differ = (left["words"] != right["words"]) | sounds_differ
    same = keys[~differ]
    told = set(np.setdiff1d(np.concatenate([ours["id"], theirs["id"]]), same).tolist())

    rows: tuple[dict[str, dict], dict[str, dict]] = ({}, {})
    for side, store in enumerate((here, there)):
        for _, row, counts in last_words(store, runs[side], Faults()):
            if counts and short_hash(row.video_id) in told:
                rows[side][row.video_id] = _side(row)
    videos: dict[str, list[dict]] = {kind: [] for kind in KINDS}
    for video_id in sorted(rows[0].keys() | rows[1].keys()):
        one, other = rows[0].get(video_id), rows[1].get(video_id)
        for kind in _kinds(one, other):
            videos[kind].append({"video_id": video_id, "here": one, "there": other})
    return {
        "here": here.root,
        "there": there.root,
        "settings": _settings(*infos),
        "teachers": _teachers(*infos),
        "splits": {
            split: {"here": infos[0].records(split), "there": infos[1].records(split)}
            for split in sorted(infos[0].splits.keys() | infos[1].splits.keys())
        },
        "videos_here": len(ours),
        "videos_there": len(theirs),
        "videos_equal": len(same),
        "videos": videos,
    }


def _sums(store: Store, runs: Sequence, faults: Faults) -> np.ndarray:
    """Per video the hashes of its id, of what the ledger says of it, and of its clips' sound (0
    where the ledger has none)."""
    sums = array("Q")
    for _, row, counts in last_words(store, runs, faults):
        if counts:
            side = _side(row)
            sound = int(side.pop("sound") or "0", 16)
            del side["message"]  # the same failure may tell of another time or path
            sums.extend((short_hash(row.video_id), short_hash(repr(side)), sound))
    kind = [(name, np.uint64) for name in ("id", "words", "sound")]
    return np.frombuffer(sums, np.uint64).reshape(-1, 3).copy().view(kind).reshape(-1)


def _side(row: LedgerRow) -> dict:
    """What one data set has of a video; `sound` is a hash of its clips' sound."""
    sounds = " ".join(fact.sound for fact in row.facts)
    return {
        "outcome": row.outcome,
        "cause": row.cause,
        "message": row.message[:500],
        "split": row.split,
        "clips": row.clips,
        "sound": f"{short_hash(sounds):016x}" if sounds else "",
        "url": row.url,
    }


def _kinds(one: dict | None, other: dict | None) -> list[str]:
    """In which ways a video differs."""
    if one is None or other is None:
        return ["only_there" if one is None else "only_here"]
    kinds = []
    outcomes = one["outcome"], other["outcome"]
    if outcomes[0] != outcomes[1]:
        kinds.append("failed_there" if outcomes[0] == DONE else "failed_here")
    elif one["cause"] != other["cause"]:
        kinds.append("other_cause")
    elif outcomes[0] == DONE:
        if one["clips"] != other["clips"]:
            kinds.append("other_clips")
        elif one["sound"] and other["sound"] and one["sound"] != other["sound"]:
            kinds.append("other_sound")
    if one["split"] != other["split"]:
        kinds.append("other_split")
    if one["url"] != other["url"]:
        kinds.append("other_address")
    return kinds


def _settings(here: DatasetInfo, there: DatasetInfo) -> list[dict]:
    """The settings, and the programs' versions, that differ."""
    settings = [
        {field.name: getattr(info, field.name) for field in dataclasses.fields(info)}
        for info in (here, there)
    ]
    for values, info in zip(settings, (here, there), strict=True):
        for name in ("splits", "runs", "teachers"):
            del values[name]
        versions: dict[str, dict[str, None]] = {}
        for run in info.runs:  # several where a program changed between two runs
            for program, version in run.versions.items():
                versions.setdefault(program, {})[version] = None
        values.update({f"version of {name}": ", ".join(all_) for name, all_ in versions.items()})
    return _differing(*settings)


def _teachers(here: DatasetInfo, there: DatasetInfo) -> list[dict]:
    """In what the teachers differ, by name; one that only one side has is named by its network."""
    ours, theirs = ({teacher.name: teacher for teacher in info.teachers} for info in (here, there))
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        if name in ours and name in theirs:
            one, other = dataclasses.asdict(ours[name]), dataclasses.asdict(theirs[name])
        else:
            one, other = (
                {"network": teachers[name].network} if name in teachers else {}
                for teachers in (ours, theirs)
            )
        for difference in _differing(one, other):
            if difference["name"] == "classes":
                one_set, other_set = set(one["classes"]), set(other["classes"])
                difference["here"] = f"{len(one_set)} names, {len(one_set - other_set)} not there"
                difference["there"] = f"{len(other_set)} names, {len(other_set - one_set)} not here"
            found.append({"teacher": name, **difference})
    return found


def _differing(one: dict, other: dict) -> list[dict]:
    """The names whose values differ; None where one side has none."""
    return [
        {"name": name, "here": one.get(name), "there": other.get(name)}
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]
