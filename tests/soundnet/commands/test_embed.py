"""`soundnet embed`, on real sounds with a small network."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet
import pytest

import soundnet
from soundnet.cli import main
from tests.processes import started_by

DOG, CLOCK = "1-100032-A-0.ogg", "1-21934-A-38.ogg"
VIDEO = "0500d23ded62.mp4"


@pytest.fixture
def sounds(data_dir, tmp_path, monkeypatch) -> Path:
    """The current folder has `sounds/`: two clips and, a folder below, a video; copies."""
    folder = tmp_path / "sounds"
    (folder / "more").mkdir(parents=True)
    for name in (DOG, CLOCK):
        shutil.copy(data_dir / "esc10" / "audio" / name, folder)
    shutil.copy(data_dir / "videos" / VIDEO, folder / "more")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def embed(small_weights, capsys):
    """The command with the small network: its exit code, what it printed, what it complained."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["embed", *map(str, arguments), "--weights", str(small_weights)])
        return code, *capsys.readouterr()

    return run


def failures(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_folder_of_sounds_is_embedded_and_only_what_is_missing_again(
    embed, sounds, small_weights
):
    bad = sounds / "bad.wav"
    bad.write_bytes(b"no sound at all" * 100)
    code, out, err = embed("sounds", "--output", "out")
    assert code == 1
    assert out.startswith("out: 3 embedded (")
    assert "1 failed (see out/failures.jsonl)" in out
    assert "sounds/bad.wav: unreadable: " in err
    (row,) = failures(Path("out/failures.jsonl"))
    assert (row["source"], row["cause"]) == ("sounds/bad.wav", "unreadable")
    assert "ffmpeg: " in row["message"]
    assert sorted(content(Path("out"))) == sorted(
        [f"{DOG}.npz", f"{CLOCK}.npz", "failures.jsonl", f"more/{VIDEO}.npz"]
    )

    model = soundnet.load_model(small_weights)
    embedding = model.embed(sounds / "more" / VIDEO)
    with np.load(f"out/more/{VIDEO}.npz") as saved:
        np.testing.assert_array_equal(saved["embeddings"], embedding.values)
        np.testing.assert_array_equal(saved["times"], embedding.times)
        np.testing.assert_array_equal(saved["centre_half_samples"] / 44100, embedding.times)
        assert saved["layer"] == "pool5"
        assert saved["pooling"] == "none"
        assert saved["hop_seconds"] == 8192 / 22050
        assert saved["duration"] == embedding.duration
        assert saved["weights_sha256"] == model.sha256
        assert saved["source"] == f"sounds/more/{VIDEO}"

    # The bad one is mended, another one changes, one becomes damaged here.
    shutil.copy(sounds / DOG, bad)
    shutil.copy(sounds / DOG, sounds / CLOCK)
    kept = os.stat(f"out/more/{VIDEO}.npz")
    Path(f"out/{DOG}.npz").write_bytes(b"PK damaged")
    code, out, err = embed("sounds", "--output", "out")
    assert (code, err) == (0, "")
    assert out.startswith("out: 3 embedded (39 x 256; ")
    assert out.endswith(", 1 there already\n")
    assert os.stat(f"out/more/{VIDEO}.npz").st_mtime_ns == kept.st_mtime_ns
    assert not Path("out/failures.jsonl").exists()
    with np.load(f"out/{CLOCK}.npz") as one, np.load(f"out/{DOG}.npz") as other:
        np.testing.assert_array_equal(one["embeddings"], other["embeddings"])


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["parquet", "h5"])
def test_a_table_has_the_numbers_of_the_files_and_grows(embed, sounds, ending):
    table = Path(f"all.{ending}")
    assert embed("sounds", "--output", "out", "--pooling", "max", "--hop", 0.5)[0] == 0
    options = ["--output", table, "--pooling", "max", "--hop", 0.5]
    assert embed(sounds / DOG, "none.wav", *options)[0] == 1
    assert [row["cause"] for row in failures(Path(f"all.{ending}.failures.jsonl"))] == ["not_found"]
    code, out, _ = embed(sounds / DOG, "sounds/more", f"sounds/{CLOCK}", *options)
    assert code == 0
    assert ", 1 there already" in out
    assert not Path(f"all.{ending}.parts").exists()
    names = [str(sounds / DOG), f"sounds/more/{VIDEO}", f"sounds/{CLOCK}"]
    files = [f"out/{DOG}.npz", f"out/more/{VIDEO}.npz", f"out/{CLOCK}.npz"]
    if ending == "parquet":
        rows = pyarrow.parquet.read_table(table)
        found = rows["source"].to_pylist()
        values = np.array(rows["embedding"].to_pylist(), np.float32)
        times = rows["time"].to_numpy()
    else:
        with h5py.File(table) as file:
            found = list(file["sources/source"].asstr()[:][file["source_index"][:]])
            values, times = file["embeddings"][:], file["times"][:]
    assert list(dict.fromkeys(found)) == names
    for name, path in zip(names, files, strict=True):
        mine = [at == name for at in found]
        with np.load(path) as saved:
            np.testing.assert_array_equal(values[mine], saved["embeddings"])
            np.testing.assert_array_equal(times[mine], saved["times"])

    code, _, err = embed(sounds / DOG, "--output", table)
    assert code == 2
    assert "was made otherwise (pooling, window_seconds, hop_seconds)" in err
    code, out, _ = embed(sounds / DOG, "--output", table, "--overwrite")
    assert (code, out.split(" (")[0]) == (0, f"{table}: 1 embedded")


@pytest.mark.slow
def test_one_by_one_or_several_at_a_time_the_bytes_are_the_same(embed, sounds, data_dir):
    """Also in another order, and beside other sounds."""
    more = f"{data_dir}/esc10/audio/2-1*.ogg"
    names = [f"sounds/more/{VIDEO}", f"sounds/{DOG}", more, f"sounds/{CLOCK}"]
    assert embed("sounds", "--output", "one")[0] == 0
    assert embed(*names, "--output", "other")[0] == 0
    one, other = content(Path("one")), content(Path("other"))
    assert len(other) > 10
    for name in (DOG, CLOCK):
        assert one[f"{name}.npz"] == other[f"{name}.npz"]
    assert one[f"more/{VIDEO}.npz"] == other[f"{VIDEO}.npz"]
    assert embed(*names, "--output", "two", "--processes", 2)[0] == 0
    assert content(Path("two")) == other


@pytest.mark.slow
def test_bare_arrays_pooled_over_the_whole_from_standard_input_and_a_list(
    embed, sounds, monkeypatch
):
    class Stdin:
        buffer = io.BytesIO((sounds / "more" / VIDEO).read_bytes())  # its index is at its end

    monkeypatch.setattr(sys, "stdin", Stdin)
    Path("list.txt").write_text(f"# two\nsounds/{DOG}\n")
    options = ["--format", "npy", "--pooling", "mean+std", "--layer", "conv7"]
    code, out, _ = embed("-", "--list", "list.txt", "--output", "out", *options)
    assert code == 0
    assert out.startswith("out: 2 embedded (2 x 2048;")
    assert np.load("out/stdin.npy").shape == (1, 2048)
    facts = json.loads(Path(f"out/sounds/{DOG}.json").read_text())
    assert facts["pooling"] == "mean+std"
    assert facts["window_seconds"] is None
    np.testing.assert_array_equal(np.load(f"out/sounds/{DOG}.times.npy"), facts["duration"] / 2)
    # Standard input is read each time, the list's sound is there.
    Stdin.buffer.seek(0)
    code, out, _ = embed("-", "--list", "list.txt", "--output", "out", *options)
    assert out.startswith("out: 1 embedded (1 x 2048;")
    assert out.endswith(", 1 there already\n")


COMMAND = [sys.executable, "-m", "soundnet", "embed"]


def started(arguments, **options) -> subprocess.Popen:
    root = Path(soundnet.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_and_the_table_is_the_same(
    sounds, data_dir, small_weights, embed
):
    names = [f"{data_dir}/esc10/audio/1-*.ogg"]
    assert embed(*names, "--output", "whole.parquet")[0] == 0
    rng, kills = random.Random(6), 0
    for _ in range(2):
        running = started([*names, "--output", "killed.parquet", "--weights", small_weights])
        parts = Path("killed.parquet.parts")
        there = len(list(parts.glob("*.npz"))) if parts.is_dir() else 0
        wanted = there + rng.randrange(1, 15)
        while running.poll() is None and len(list(parts.glob("*.npz"))) < wanted:
            time.sleep(0.01)
        kills += running.poll() is None
        running.kill()
        running.communicate()
        for part in parts.glob("*.npz"):
            np.load(part)["embeddings"]  # whole
    assert kills == 2
    code, out, _ = embed(*names, "--output", "killed.parquet")
    assert code == 0
    assert " there already" in out
    assert Path("killed.parquet").read_bytes() == Path("whole.parquet").read_bytes()


@pytest.mark.slow
def test_a_process_that_dies_takes_one_sound_with_it(sounds, data_dir, small_weights):
    arguments = ["--output", "out", "--processes", 2, "--weights", small_weights]
    running = started([f"{data_dir}/esc10/audio/1-*.ogg", *arguments])
    while running.poll() is None and not any(Path("out").glob("*.npz")):
        time.sleep(0.01)
    workers = started_by(running.pid, b"spawn_main")
    os.kill(workers[0], signal.SIGKILL)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 1
    (row,) = failures(Path("out/failures.jsonl"))
    assert row["cause"] == "died"
    assert "signal 9" in row["message"]
    assert row["source"] in err
    done = len(list(Path("out").glob("*.npz")))
    assert f"{done} embedded" in out


@pytest.mark.slow
def test_ctrl_c_ends_it_without_a_word(sounds, data_dir, small_weights):
    arguments = [data_dir / "esc10", "--output", "out", "--processes", 2]
    running = started([*arguments, "--weights", small_weights], start_new_session=True)
    while running.poll() is None and not any(Path("out").rglob("*.npz")):
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in err
    assert out == ""


def test_two_at_once_in_one_folder_are_refused(embed, sounds, small_weights):
    import fcntl

    Path("out").mkdir()
    descriptor = os.open("out", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        code, _, err = embed("sounds", "--output", "out")
    finally:
        os.close(descriptor)
    assert code == 2
    assert "another `soundnet embed` is writing to out" in err


def test_what_would_overwrite_itself_is_refused(embed, tmp_path):
    code, _, err = embed("a/x.wav", "b/x.wav", "--output", tmp_path / "out")
    assert code == 2
    assert "a/x.wav and b/x.wav would both be written to" in err


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--window", "1"], "--window and --centre go with --hop"),
        (["--hop", "1e-9"], "1 sample at least is wanted"),
        (["--centre"], "--window and --centre go with --hop"),
        (["--hop", "1", "--pooling", "none"], "leave --hop away"),
        (["-", "--list", "-"], "standard input can be read once"),
    ],
)
def test_options_that_contradict_each_other(embed, tmp_path, options, why):
    code, _, err = embed("x.wav", *options, "--output", tmp_path / "out")
    assert code == 2
    assert why in err


def test_options_that_the_network_does_not_have(embed, tmp_path):
    code, _, err = embed("x.wav", "--layer", "pool9", "--output", tmp_path / "out")
    assert code == 2
    assert "choose one of conv1, pool1" in err
    code, _, err = embed("x.wav", "--hop", "0.1", "--window", "0.2", "--output", tmp_path / "out")
    assert code == 2
    assert "shorter than the 0.372 s from one step of pool5" in err
    assert not (tmp_path / "out").exists()


def test_no_sound_at_all(embed, tmp_path):
    code, _, err = embed("--output", tmp_path / "out")
    assert code == 2
    assert "no sound is named" in err


def test_a_folder_that_can_not_be_made_is_named(embed, tmp_path):
    (tmp_path / "taken").write_text("a file")
    code, _, err = embed("x.wav", "--output", tmp_path / "taken")
    assert code == 1
    assert f"File exists: '{tmp_path / 'taken'}'" in err
