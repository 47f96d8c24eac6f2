"""The ablations' table and orderings, and that an interrupted grid goes on."""

from __future__ import annotations

import csv
import json
import sys

import pytest

from benchmarks import ablations
from trainer.config import Config
from trainer.task import build_parser


def one(row: str, seed: int, **accuracy: float) -> dict:
    return {"row": row, "seed": seed, "accuracy": accuracy, "training_seconds": 10.0 + seed}


RUNS = [
    one("published", 0, pool5=70.0, conv7=60.0),
    one("published", 1, pool5=74.0, conv7=64.0),
    one("published", 2, pool5=90.0, conv7=90.0),
    one("l2", 0, pool5=60.0, conv7=61.0),
    one("l2", 1, pool5=60.0, conv7=65.0),
    one("depth5", 0, pool5=71.0),
    one("scratch8", 0, labels=50.0),
    one("scratch5", 1, labels=50.0),
]


def test_pairs_are_of_one_seed():
    found = {(first, second): ours for first, second, ours in ablations.orderings(RUNS)}
    assert found == {
        ("published", "l2"): {"pool5": [10.0, 14.0], "conv7": [-1.0, -1.0]},
        ("published", "depth5"): {"pool5": [-1.0], "conv7": []},
        ("published", "scratch8"): {"pool5": [20.0], "conv7": [10.0]},
    }


def test_the_table_has_mean_and_spread_beside_the_papers_figure():
    text = ablations.page({"runs": RUNS})
    row = "| 8 layers, KL loss, both teachers | 3 | 78.0 ± 10.6 | 71.3 ± 16.3 |  | 92.2 | 11 |"
    assert row in text
    assert "| 5 layers | 1 | 71.0 |  |  | 86.8 | 10 |" in text
    pair = (
        "| 8 layers, KL loss, both teachers | 8 layers, l2 loss | +10.7 | +12.0 ± 2.8 | -1.0 ± 0.0"
    )
    assert pair in text


def test_a_runs_command_gives_its_settings():
    for row in ablations.ROWS.values():
        config = Config(data="d", model_dir="m", seed=3, shift=True, **row.changes)
        options = vars(build_parser().parse_args(ablations.arguments(config)))
        del options["task"], options["show_config"]
        assert Config(**options | {"teachers": tuple(options["teachers"])}) == config


@pytest.fixture
def small_esc10(data_dir, tmp_path):
    """One clip of each class in each fold."""
    folder = tmp_path / "esc10"
    (folder / "meta").mkdir(parents=True)
    (folder / "audio").symlink_to(data_dir / "esc10" / "audio")
    with (data_dir / "esc10" / "meta" / "esc50.csv").open() as file:
        reader = csv.DictReader(file)
        kept, seen = [], {}
        for row in reader:
            key = row["fold"], row["category"]
            seen[key] = seen.get(key, 0) + 1
            if seen[key] <= 1:
                kept.append(row)
    with (folder / "meta" / "esc50.csv").open("w") as file:
        writer = csv.DictWriter(file, reader.fieldnames)
        writer.writeheader()
        writer.writerows(kept)
    return folder


@pytest.mark.slow
def test_a_grid_goes_on_where_it_was_stopped(
    tmp_path, small_esc10, tiny_data_set, capsys, monkeypatch
):
    monkeypatch.setattr(ablations, "STATISTICS", 2)

    def grid(*rows: str) -> dict:
        shared = ["--batch-size", "2", "--steps", "1"]
        return ablations.run(tiny_data_set, small_esc10, tmp_path / "out", [*rows], 1, 1, shared)

    first = grid("depth5")
    assert (tmp_path / "out/depth5/seed-0/model.keras").exists()
    config = json.loads((tmp_path / "out/depth5/seed-0/config.json").read_text())
    assert (config["depth"], config["steps"], config["batch_size"]) == (5, 1, 2)
    capsys.readouterr()
    both = grid("depth5", "untrained", "scratch5")
    assert "depth5, seed 0" not in capsys.readouterr().out
    assert both["runs"][0] == first["runs"][0]
    assert [run["row"] for run in both["runs"]] == ["depth5", "untrained", "scratch5"]
    assert json.loads((tmp_path / "out/ablations.json").read_text()) == both
    assert set(both["runs"][1]["accuracy"]) == {"pool5", "conv7"}
    assert 0 <= both["runs"][2]["accuracy"]["labels"] <= 100
    assert "| 5 layers | 1 |" in (tmp_path / "out/ablations.md").read_text()
    with pytest.raises(SystemExit, match="other options"):
        ablations.run(tiny_data_set, small_esc10, tmp_path / "out", ["depth5"], 1, 1, [])
    assert "sklearn" in sys.modules  # judged here, by the evaluation's own protocol


@pytest.fixture
def tiny_data_set(tmp_path):
    """Four clips of 20 s of noise."""
    import numpy as np

    from schemas.clip import ClipRecord
    from schemas.dataset_info import FILE_NAME, DatasetInfo, ShardInfo, TeacherInfo
    from schemas.tfrecord import frame

    random = np.random.default_rng(0)
    sizes = {"imagenet": 6, "places": 5}
    data = b""
    for number in range(4):
        pcm = (random.normal(0, 3000, 441_000)).astype(np.int16)
        probs = {n: random.dirichlet(np.ones(s), 4).astype("f2") for n, s in sizes.items()}
        times = [2.5, 7.5, 12.5, 17.5]
        clip = ClipRecord(f"v{number}", 0, "", 0.0, pcm, "pcm", times, probs)
        data += frame(clip.to_bytes())
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.tfrecord").write_bytes(data)
    teachers = [
        TeacherInfo(name, "test", [f"{i}" for i in range(size)], "", "")
        for name, size in sizes.items()
    ]
    shards = {"train": [ShardInfo("train.tfrecord", 4, len(data))]}
    (folder / FILE_NAME).write_text(DatasetInfo(teachers, "pcm", splits=shards).to_json())
    return str(folder)
