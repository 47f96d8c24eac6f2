"""`soundnet predict --follow`: of sound that still comes is said what is said of the whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import media
import soundnet
from soundnet.cli import main
from soundnet.model import TrainedSoundNet

VIDEO = "videos/0500d23ded62.mp4"


@pytest.mark.parametrize(
    "seconds", [12.6, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.5, 11, 31))]
)
def test_steps_that_come_one_by_one_are_those_of_the_whole(
    lively_model: TrainedSoundNet, noise, seconds
):
    waveform = noise(seconds)
    layers = [lively_model.network.architecture.names[-2], *lively_model.heads]
    whole = lively_model.listen([waveform], layers)
    heard = 0

    def coming():
        nonlocal heard
        for at in range(0, len(waveform), 5000):
            heard = min(at + 5000, len(waveform))
            yield waveform[at : at + 5000]
        heard = None  # the end is known

    given = {layer: [] for layer in layers}
    for piece in lively_model.follow(coming(), layers):
        for layer, embedding in piece.items():
            given[layer].append(embedding)
            if heard is None or not len(embedding.times):
                continue
            # As soon as it has come, all that the deepest layer's step hears, and not before.
            until = (embedding.times[-1] + embedding.hears_seconds / 2) * 22050
            assert until <= heard
            assert layer not in lively_model.heads or heard - until < 5001
    for layer, pieces in given.items():
        values = np.concatenate([piece.values for piece in pieces])
        assert values.shape == whole[layer].values.shape
        most = np.abs(whole[layer].values).max()
        assert np.abs(values - whole[layer].values).max() <= 1e-5 * most
        times = np.concatenate([piece.times for piece in pieces])
        np.testing.assert_array_equal(times, whole[layer].times)
        assert pieces[-1].tiled == whole[layer].tiled


FOLLOW = [sys.executable, "-m", "soundnet", "predict", "--follow", "--json"]


@pytest.fixture
def command(small_weights):
    """The command in a process of its own."""
    root = Path(soundnet.__file__).parents[1]

    def start(*arguments: object, **options) -> subprocess.Popen:
        return subprocess.Popen(
            [*FOLLOW, "--weights", str(small_weights), *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    return start


def assert_same(rows: list[dict], whole: dict[str, soundnet.Prediction], steps: slice) -> None:
    times = next(iter(whole.values())).times[steps]
    assert [row["time"] for row in rows] == list(times)
    for head, prediction in whole.items():
        for row, best in zip(rows, prediction.top(5)[steps], strict=True):
            said = {c["class"]: c["probability"] for c in row["heads"][head]}
            assert said == pytest.approx(dict(best), abs=1e-4)


@pytest.mark.slow
def test_a_pipe_is_heard_while_it_comes(command, data_dir, small_weights, tmp_path):
    """Steps are printed before the sound ends; together they are those of the whole file."""
    sound = tmp_path / "sound.ogg"
    waveform = np.tile(media.load_waveform(data_dir / VIDEO), 2)[: 40 * 22050]
    soundfile.write(sound, waveform / 256, 22050, format="OGG", subtype="VORBIS")
    running = command("-", stdin=subprocess.PIPE)
    data = sound.read_bytes()
    early = len(data) * 3 // 4
    running.stdin.write(data[:early])
    running.stdin.flush()
    rows = [json.loads(running.stdout.readline()) for _ in range(3)]  # it goes on coming
    assert all(row["latency"] > 7.2 for row in rows)
    running.stdin.write(data[early:])
    out, err = running.communicate(timeout=120)
    assert (running.returncode, err) == (0, b"")
    rows += map(json.loads, out.splitlines())
    assert_same(rows, soundnet.load_model(small_weights).predict(sound), slice(None))


@pytest.mark.slow
def test_a_file_that_grows_is_followed_until_ctrl_c(command, data_dir, small_weights, tmp_path):
    sound, growing = tmp_path / "sound.flac", tmp_path / "growing.flac"
    waveform = media.load_waveform(data_dir / VIDEO)
    soundfile.write(sound, np.tile(waveform, 2)[: 30 * 22050] / 256, 22050)
    data = sound.read_bytes()
    growing.write_bytes(data[:100_000])
    running = command(growing)
    with growing.open("ab") as file:
        file.write(data[100_000:])
    rows = [json.loads(running.stdout.readline()) for _ in range(6)]
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (130, b"")
    assert_same(rows, soundnet.load_model(small_weights).predict(sound), slice(0, 6))


@pytest.mark.slow
def test_a_microphone_is_heard(command, data_dir, tmp_path, monkeypatch):
    """A PulseAudio server of the test's own, in which a file is played."""
    if not all(map(shutil.which, ("pulseaudio", "pactl", "paplay"))):
        pytest.skip("no PulseAudio (Debian: apt install pulseaudio pulseaudio-utils)")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    modules = ["module-native-protocol-unix", "module-null-sink sink_name=null"]
    server = subprocess.Popen(
        ["pulseaudio", "-n", "--exit-idle-time=-1", *(f"--load={module}" for module in modules)],
        stderr=subprocess.DEVNULL,
    )
    try:
        while subprocess.run(["pactl", "info"], capture_output=True).returncode:
            assert server.poll() is None
            time.sleep(0.1)
        wav = tmp_path / "sound.wav"
        waveform = np.tile(media.load_waveform(data_dir / VIDEO), 2) / 256
        soundfile.write(wav, waveform[: 60 * 22050], 22050)
        player = subprocess.Popen(["paplay", str(wav)])
        running = command("--microphone", "null.monitor")
        row = json.loads(running.stdout.readline())
        player.kill()
        player.wait()
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
    finally:
        server.terminate()
        server.wait()
    assert running.returncode == 130
    assert row["file"] == "microphone null.monitor"
    assert 7.2 < row["latency"] < 30


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--follow"], "takes one SOUND"),
        (["--follow", "a.wav", "b.wav"], "takes one SOUND"),
        (["--follow", "a.wav", "--microphone"], "takes one SOUND"),
        (["--follow", "a.wav", "--raw", "44100"], "--raw is for standard input"),
        (["--follow", "http://example.org/live.mp3"], "curl -s ADDRESS"),
        (["--raw", "44100", "-"], "go with --follow"),
    ],
)
def test_options_that_can_not_be_meant(arguments, why, capsys):
    assert main(["predict", *arguments]) == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["0", "44100,9", "fast"])
def test_a_rate_that_is_none(rate, capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--follow", "-", "--raw", rate])
    assert "is no rate in Hz, as in 44100 or 44100,2" in capsys.readouterr().err


def test_a_file_that_is_none_says_so(small_weights, capsys):
    assert main(["predict", "--follow", "none.ogg", "--weights", str(small_weights)]) == 1
    assert "none.ogg: not_found" in capsys.readouterr().err
