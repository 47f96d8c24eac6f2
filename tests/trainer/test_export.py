"""Exported files give, in their own runtimes, what the network gives."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.conftest import ROOT
from trainer import export
from trainer.network import SoundNet, tile_to

HEADS = {"imagenet": ["cat", "dog", "bær"], "places-2.0": ["bar", "park"]}
SERVED = ("saved_model", "litert", "onnx")


def random_network(seed: int = 0, **settings) -> SoundNet:
    """A network all of whose numbers matter, none of whose probabilities is near 0 or 1."""
    network = SoundNet(**{"depth": 5, "heads": HEADS} | settings)
    rng = np.random.default_rng(seed)
    for variable in network.weights:
        shape = tuple(variable.shape)
        if variable.path.endswith("kernel"):
            values = rng.normal(0, 1.4 / np.sqrt(shape[0] * shape[1]), shape)
            if "conv1" in variable.path:
                values /= 60  # the sounds are this loud
        elif variable.path.endswith(("gamma", "moving_variance")):
            values = rng.uniform(0.5, 1.5, shape)
        else:
            values = rng.normal(0, 0.5, shape)
        variable.assign(values)
    return network


@pytest.fixture(scope="module")
def network() -> SoundNet:
    return random_network()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    """The folder with every format of the network, outputs by default."""
    folder = tmp_path_factory.mktemp("exported")
    made = list(export.export(network, folder, list(export.FORMATS)))
    assert [m.path for m in made] == [folder / file for file, _ in export.FORMATS.values()]
    return folder


def litert(path):
    """As on a phone: the runtime without TensorFlow, no signature, lengths set by hand."""
    interpreter = Interpreter(str(path))
    (waveform,) = interpreter.get_input_details()
    names = {}
    for name in interpreter.get_signature_list()["serving_default"]["outputs"]:
        runner = interpreter.get_signature_runner("serving_default")
        names[runner.get_output_details()[name]["index"]] = name

    def run(waveforms):
        interpreter.resize_tensor_input(waveform["index"], waveforms.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(waveform["index"], waveforms)
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for index, name in names.items()}

    return run


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize("format_", [*export.FORMATS, "litert alone"])
def test_what_a_file_gives_is_what_the_network_gives(network, exported, format_):
    if format_ == "litert alone":
        run = litert(exported / "model.tflite")
    else:
        run = export.load(exported / export.FORMATS[format_][0])
    shortest = network.architecture.min_samples("conv5")
    rng = np.random.default_rng(1)
    # Of one step, of many, and repeated; one at a time and together; in an order of no use.
    for batch, samples in [(1, shortest), (2, 300_001), (3, 1), (1, 1000), (1, shortest - 1)]:
        waveforms = rng.normal(0, 60, (batch, samples)).astype(np.float32)
        heard = np.stack([tile_to(waveform, shortest) for waveform in waveforms])
        expected = network(heard, training=False)
        found = run(waveforms)
        assert found.keys() == HEADS.keys()
        for name, logits in expected.items():
            np.testing.assert_allclose(found[name], softmax(logits.numpy()), atol=2e-5)


def test_a_file_says_what_it_is(network, exported):
    heads, words = export.heads_json(network.heads), export.waveform_json(network)
    assert json.loads(heads) == HEADS
    assert json.loads(words) == {
        "sample_rate": 22050,
        "channels": 1,
        "full_scale": 256.0,
        "shortest": network.architecture.min_samples("conv5"),
        "outputs": {
            name: {
                "first_seconds": network.architecture.output_centres("conv5", 1)[0] / 22050,
                "hop_seconds": 2**13 * 12 / 22050,
            }
            for name in HEADS
        },
    }
    expected = {"heads.json": heads, "waveform.json": words}
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    assert session.get_modelmeta().custom_metadata_map == expected
    assert session.get_inputs()[0].shape == ["batch", "samples"]
    assert session.get_outputs()[0].shape == ["batch", "imagenet_steps", 3]
    for file in ("model.tflite", "model.keras"):
        with zipfile.ZipFile(exported / file) as archive:
            assert {name: archive.read(name).decode() for name in expected} == expected
    for folder in (exported, exported / "saved_model" / "assets.extra"):
        assert {name: (folder / name).read_text() for name in expected} == expected


def test_some_outputs_alone_make_a_small_file(network, exported, tmp_path):
    formats = ["litert", "onnx"]
    few = export.export(network, tmp_path / "few", formats, ["pool2", "places-2.0", "pool2"])
    layer = list(export.export(network, tmp_path / "layer", formats, ["pool2"]))
    for one, two in zip(few, layer, strict=True):
        whole = (exported / one.path.name).stat().st_size
        assert two.bytes < 0.5 * whole
        assert one.bytes < 1.02 * whole  # the heads of this network are small
        assert list(one.differences) == ["pool2", "places-2.0"]
    waveform = np.random.default_rng(2).normal(0, 60, (1, 5000)).astype(np.float32)
    expected = network.features(["pool2"])(waveform)["pool2"]
    for made in layer:
        found = export.load(made.path)(waveform)  # not repeated: pool2 needs no more
        np.testing.assert_allclose(found["pool2"], expected, rtol=1e-4, atol=1e-5)
    assert (tmp_path / "layer" / "heads.json").read_text() == "{}\n"
    words = json.loads((tmp_path / "few" / "waveform.json").read_text())
    assert words["outputs"]["pool2"]["hop_seconds"] == 256 / 22050


@pytest.mark.parametrize("format_", SERVED)
def test_a_head_of_embeddings_gives_no_probabilities(tmp_path, format_):
    network = random_network(embeddings=["imagenet"])
    made = next(export.export(network, tmp_path, [format_]))
    waveform = np.random.default_rng(4).normal(0, 60, (1, 100_000)).astype(np.float32)
    found, expected = export.load(made.path)(waveform), network(waveform)
    np.testing.assert_allclose(found["imagenet"], expected["imagenet"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["places-2.0"].sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("format_", SERVED)
def test_an_empty_waveform_is_refused(exported, format_):
    run = export.load(exported / export.FORMATS[format_][0])
    with pytest.raises(Exception):  # noqa: B017, PT011 - each runtime has its own
        run(np.zeros((1, 0), np.float32))
    assert run(np.ones((1, 10), np.float32))  # and it goes on


def test_a_file_that_is_another_network_is_refused(network, exported):
    other = random_network(seed=1)
    noise = [np.random.default_rng(3).normal(0, 60, 200_000).astype(np.float32)]
    for file, _ in export.FORMATS.values():
        assert max(export.check(network, exported / file, noise).values()) < 2e-5
        with pytest.raises(
            export.ExportError, match=r"imagenet differs by 0\.\d+ from the network"
        ):
            export.check(other, exported / file, noise)
    smaller = random_network(heads={"imagenet": HEADS["imagenet"]})
    with pytest.raises(export.ExportError, match=r"gives .*places-2\.0.*; imagenet are wanted"):
        export.check(smaller, exported / "model.onnx", noise)
    with pytest.raises(ValueError, match="no layer 'pool9'"):
        next(export.export(network, exported / "none", ["litert"], ["pool9"]))
    assert not (exported / "none").exists()


@pytest.mark.parametrize("package", ["tf2onnx", "onnxruntime"])
def test_what_is_not_installed_is_named(network, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "model.onnx").write_text("an older one")
    with pytest.raises(export.ExportError, match=rf"{package}.*pip install 'soundnet\[export\]'"):
        next(export.export(network, tmp_path, ["onnx"], ["pool1"]))
    assert (tmp_path / "model.onnx").read_text() == "an older one"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "heads.json",
        "model.onnx",
        "waveform.json",
    ]


def test_files_are_replaced_whole(network, tmp_path):
    for _ in range(2):
        made = list(export.export(network, tmp_path, SERVED, ["pool1"]))
    names = {"heads.json", "waveform.json", *(m.path.name for m in made)}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_another_backend_is_refused(network, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(export.ExportError, match="Keras runs on jax here; set KERAS_BACKEND"):
        next(export.export(network, tmp_path / "exported", ["litert"]))
    assert not (tmp_path / "exported").exists()


@pytest.mark.slow
def test_a_full_disk_leaves_the_older_file(network, tmp_path):
    """A limit on the size of files stands for the disk."""
    network.save(tmp_path / "network.keras")
    list(export.export(network, tmp_path, SERVED, ["pool1"]))
    before = (tmp_path / "model.tflite").read_bytes()
    code = f"""
import resource, sys
from pathlib import Path
import keras
from trainer import export, network
model = keras.saving.load_model({str(tmp_path / "network.keras")!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
for format_ in export.FORMATS:
    try:
        next(export.export(model, Path({str(tmp_path)!r}), [format_]))
    except export.ExportError as error:
        print(format_, "SAYS", error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert [line.split(" SAYS ")[0] for line in lines] == list(export.FORMATS), done
    for line in lines:
        assert "can't be written" in line
    assert (tmp_path / "model.tflite").read_bytes() == before
    assert not list(tmp_path.glob(".export-*"))


@pytest.mark.slow
def test_the_residual_network_and_classifiers_can_be_exported(tmp_path):
    for depth, classifier in [(18, False), (8, True)]:
        network = random_network(depth=depth, heads={"esc": ["a", "b"]}, classifier=classifier)
        made = list(export.export(network, tmp_path / str(depth), list(export.FORMATS)))
        assert len(made) == 4


@pytest.mark.slow
def test_the_published_network_on_real_sounds(published_weights, data_dir, tmp_path):
    import media

    network = keras.saving.load_model(published_weights, compile=False)
    files = sorted((data_dir / "esc10" / "audio").iterdir())[::40]
    waveforms = [media.load_waveform(file) for file in files]
    waveforms.append(media.load_waveform(data_dir / "videos" / "0500d23ded62.mp4"))
    for made in export.export(network, tmp_path, list(export.FORMATS), waveforms=waveforms):
        assert max(made.differences.values()) < 1e-5
    run = litert(tmp_path / "model.tflite")
    for waveform in waveforms:
        heard = tile_to(waveform, 209_374)[np.newaxis]
        found = run(waveform[np.newaxis])
        for name, logits in network(heard, training=False).items():
            np.testing.assert_allclose(found[name], softmax(logits.numpy()), atol=1e-5)
