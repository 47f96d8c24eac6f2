"""The ablations' tables and orderings, and that an interrupted grid goes on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evaluation.__main__ import main
from evaluation.ablations import grid, tables
from evaluation.ablations.rows import ROWS
from tests.processes import started_by
from trainer.config import Config
from trainer.task import build_parser


def one(row: str, seed: int, **accuracy: float) -> dict:
    return {"row": row, "seed": seed, "accuracy": accuracy, "training_seconds": 10.0 + seed}


RUNS = [
    one("published", 0, pool5=70.0, conv7=60.0, conv4=60.0),
    one("published", 1, pool5=74.0, conv7=64.0, conv4=66.0),
    one("published", 2, pool5=90.0, conv7=90.0),
    one("l2", 0, pool5=60.0, conv7=61.0),
    one("l2", 1, pool5=60.0, conv7=65.0),
    one("depth5", 0, pool5=71.0),
    one("scratch8", 0, labels=50.0),
    one("scratch5", 1, labels=50.0),
    one("untrained", 0, pool5=71.0, conv7=61.0),
]


def found(runs: list[dict]) -> dict:
    return {"shared": {"steps": 1000}, "epochs": 50, "runs": runs}


def rows(runs: list[dict], name: str) -> list[tuple]:
    (table,) = (t for t in tables.report(found(runs)).tables if t.name == name)
    return table.rows


def test_pairs_are_of_one_seed():
    orders = tables.row_orders(RUNS, ("pool5", "conv7"))
    assert {(first, second): differences for first, second, differences in orders} == {
        ("published", "l2"): {"pool5": [10.0, 14.0], "conv7": [-1.0, -1.0]},
        ("published", "depth5"): {"pool5": [-1.0], "conv7": []},
        ("published", "untrained"): {"pool5": [-1.0], "conv7": [-1.0]},
        ("published", "scratch8"): {"pool5": [20.0], "conv7": [10.0]},
    }
    assert tables.layer_orders(RUNS) == [
        ("pool5", "conv4", [10.0, 8.0]),
        ("pool5", "conv7", [10.0, 10.0, 0.0]),
    ]


def test_the_tables_have_mean_and_spread_beside_the_papers_figure():
    published = "8 layers, KL loss, both teachers", 3, "63.0 ± 4.2", "78.0 ± 10.6", "71.3 ± 16.3"
    assert rows(RUNS, "loss") == [
        ("8 layers, l2 loss", 2, None, "60.0 ± 0.0", "63.0 ± 2.8", None, 81.5, 10),
        (*published, None, 92.2, 11),
    ]
    assert rows(RUNS, "supervision")[:3] == [
        ("5 layers, from scratch on the labels", 1, None, None, None, "50.0", 82.3, 11),
        ("8 layers, from scratch on the labels", 1, None, None, None, "50.0", 75.5, 10),
        ("5 layers", 1, None, "71.0", None, None, 86.8, 10),
    ]
    assert rows(RUNS, "beyond")[0][0] == "8 layers, not trained"
    assert rows(RUNS, "layers") == [
        ("conv4", "63.0 ± 4.2", 66.0, 66.0),
        ("pool5", "78.0 ± 10.6", 74.2, 72.9),
        ("conv7", "71.3 ± 16.3", 63.8, 59.8),
    ]


def test_what_the_runs_say_of_the_papers_orders():
    l2, depth5, *_ = rows(RUNS, "orderings")
    words = "8 layers, KL loss, both teachers", "8 layers, l2 loss"
    assert l2 == (*words, 10.7, "+12.0 ± 2.8", "-1.0 ± 0.0", "not clear")
    assert depth5[3:] == ("-1.0", None, "too few seeds")
    conv4, conv7 = rows(RUNS, "layer-orderings")
    assert conv4 == ("pool5", "conv4", 6.9, "+9.0 ± 1.4", "not clear")
    assert conv7[3:] == ("+6.7 ± 5.8", "not clear")
    assert tables.verdict([10.0, 12.0, 14.0]) == "shown"
    assert tables.verdict([-3.0, -3.1, -2.9]) == "the other way round"
    assert tables.verdict([0.0, 0.0]) == "not clear"


def test_a_runs_command_gives_its_settings():
    for row in ROWS.values():
        config = Config(data="d", model_dir="m", seed=3, shift=True, **row.changes)
        options = vars(build_parser().parse_args(grid.arguments(config)))
        del options["task"], options["show_config"]
        assert Config(**options | {"teachers": tuple(options["teachers"])}) == config


def test_every_row_of_the_papers_table_has_its_figure():
    figures = {name: row.figure for name, row in ROWS.items() if row.paper}
    assert figures == {
        "published": 92.2,
        "l2": 81.5,
        "imagenet": 89.8,
        "places": 89.5,
        "depth5": 86.8,
        "scratch8": 75.5,
        "scratch5": 82.3,
    }


def test_layers_that_are_missing_are_those_not_judged_yet():
    run = one("published", 0, pool5=70.0, conv7=60.0)
    layers = ("conv4", "pool5", "conv8")
    assert grid.missing(ROWS["published"], run, layers) == {"conv4": "conv4", "conv8": "conv8"}
    fresh = one("depth5", 0)
    assert grid.missing(ROWS["depth5"], fresh, layers) == {"pool5": "conv4"}
    assert grid.missing(ROWS["scratch5"], one("scratch5", 0, labels=1.0), layers) == {}


def test_a_folder_of_runs_is_printed_without_training(tmp_path, capsys):
    (tmp_path / "ablations.json").write_text(json.dumps(found(RUNS)))
    assert main(["ablations", "--output", str(tmp_path)]) == 0
    assert "| 8 layers, l2 loss | 2 |" in capsys.readouterr().out
    assert json.loads((tmp_path / "ablations.json").read_text()) == found(RUNS)
    assert json.loads((tmp_path / "tables.json").read_text())["details"]["runs"] == RUNS


def test_what_can_not_be_done_is_said(tmp_path, capsys):
    options = ["ablations", "--output", str(tmp_path)]
    assert main(options) == 1
    assert main([*options, "--data-set", "data"]) == 1
    (tmp_path / "ablations.json").write_text('{"runs": [{"row": "x", "seed": 0, "accuracy": {}}]}')
    assert main(options) == 1
    first, second, third = capsys.readouterr().err.splitlines()
    assert "give --data-set and --data to make one" in first
    assert "--data is missing" in second
    assert "doesn't hold ablations (ValueError('rows x'))" in third


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
    tmp_path, small_esc10, tiny_data_set, capfd, monkeypatch
):
    monkeypatch.setattr(grid, "STATISTICS", 2)
    shared = ["--", "--batch-size", "2", "--steps", "1"]
    out = tmp_path / "out"

    def run(*options: str, shared: list[str] = shared) -> int:
        always = ["--data-set", tiny_data_set, "--data", str(small_esc10), "--output", str(out)]
        return main(["ablations", *always, "--seeds", "1", "--epochs", "1", *options, *shared])

    assert run("--rows", "depth5") == 0
    first = json.loads((out / "ablations.json").read_text())
    assert (out / "depth5/seed-0/model.keras").exists()
    config = json.loads((out / "depth5/seed-0/config.json").read_text())
    assert (config["depth"], config["steps"], config["batch_size"]) == (5, 1, 2)
    capfd.readouterr()
    assert run("--rows", "depth5", "untrained", "scratch5") == 0
    captured = capfd.readouterr()
    assert "depth5, seed 0" not in captured.err
    assert "SoundNet-5 from random weights" in captured.err  # the training's progress
    both = json.loads((out / "ablations.json").read_text())
    assert both["runs"][0] == first["runs"][0]
    assert [one["row"] for one in both["runs"]] == ["depth5", "untrained", "scratch5"]
    assert set(both["runs"][1]["accuracy"]) == {"pool5", "conv7"}
    assert 0 <= both["runs"][2]["accuracy"]["labels"] <= 100
    assert "| 5 layers | 1 |" in captured.out
    # More layers are judged, and nothing is trained.
    weights = (out / "untrained/seed-0/model.keras").read_bytes()
    assert run("--rows", "depth5", "untrained", "--layers", "pool5", "conv8") == 0
    more = json.loads((out / "ablations.json").read_text())
    assert set(more["runs"][1]["accuracy"]) == {"pool5", "conv7", "conv8"}
    assert (out / "untrained/seed-0/model.keras").read_bytes() == weights
    assert more["runs"][0] == first["runs"][0]
    capfd.readouterr()
    assert run("--rows", "depth5", shared=[]) == 1
    assert "holds runs with other options" in capfd.readouterr().err


def test_a_grid_that_is_ended_takes_its_training_with_it(tmp_path):
    script = "from evaluation.ablations import grid; grid.train('--data', 'd', '--model-dir', 'm')"
    paths = {**os.environ, "PYTHONPATH": str(Path(grid.__file__).parents[2])}
    running = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=paths)
    # What its imports start isn't among them.
    while not (training := started_by(running.pid, b"trainer.task")):
        assert running.poll() is None
        time.sleep(0.05)
    running.terminate()
    assert running.wait() == 128 + signal.SIGTERM
    assert not Path(f"/proc/{training[0]}").exists()


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
