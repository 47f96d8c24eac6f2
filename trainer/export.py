"""What a network leaves for others: a `.keras` file, a SavedModel, LiteRT and ONNX.

All but the `.keras` file, which holds the network as it is, serve alike: `waveform` in, float32
(batch, samples), mono, -256..256, 22,050 Hz, of any length but 0 (what is too short for the network
is repeated); by the name of each head its probabilities out (batch, steps, classes), or what it
says in place of its teacher's embeddings. Instead of all heads some `outputs` may be named: heads,
and layers, which give what they compute (batch, steps, channels). What these don't need is left
out: without the heads the file is small.

Each file carries its class names (`heads_json`) and what must be known of its waveforms and steps
(`waveform_json`): a `.keras` file, which is a ZIP, as one more member, a SavedModel in
`assets.extra/`, ONNX in its metadata, LiteRT in a ZIP at its end (`unzip model.tflite`; that is how
TFLite files carry files of their own). `export` puts both beside them all.
"""

from __future__ import annotations

import io
import json
import logging
import os
import posixpath
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from schemas.waveform import SAMPLE_RATE, WAVEFORM_PEAK
from trainer.network import SoundNet, tile_to
from trainer.progress import write_whole

HEADS_FILE, WAVEFORM_FILE = "heads.json", "waveform.json"

ONNX_OPSET = 17
"""Of 2022, for runtimes that are not new."""

LARGEST_DIFFERENCE = 1e-4
"""Of an exported file's outputs from the network's, as a share of the largest number there is, or
of 1 if that is more. Sums of float32 in another order differ by some 1e-6; what is further off is
refused."""


class ExportError(Exception):
    """A file that can't be made, or isn't the network; the message says what to do."""


@dataclass(frozen=True)
class Exported:
    """A file that was made and checked.

    Attributes:
        path: the file, or the SavedModel's folder.
        bytes: its size.
        differences: by output the largest difference from the network's own.
    """

    path: Path
    bytes: int
    differences: dict[str, float]


def save_keras(model: SoundNet, path: str, outputs: Sequence[str] = ()) -> None:
    """Write a network, its heads' class names inside, whole or not at all (local or gs://).

    Every layer can be had from it (`SoundNet.features`), so `outputs` changes nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        local = str(Path(folder) / "model.keras")
        model.save(local)
        with zipfile.ZipFile(local, "a") as archive:
            _pack_words(archive, model, ())
        tf.io.gfile.copy(local, path + ".part", overwrite=True)
    tf.io.gfile.rename(path + ".part", path, overwrite=True)


def save_saved_model(model: SoundNet, folder: str, outputs: Sequence[str] = ()) -> None:
    """Write a SavedModel for TensorFlow and its serving (local or gs://). Replaces an older one.

    Its signature is `serving_default`.
    """
    part = folder + ".part"
    if tf.io.gfile.exists(part):
        tf.io.gfile.rmtree(part)
    module = _serving(model, outputs)
    tf.saved_model.save(module, part, signatures={"serving_default": module.serve})
    extra = posixpath.join(part, "assets.extra")
    tf.io.gfile.makedirs(extra)
    for name, text in _words(model, outputs).items():
        write_whole(posixpath.join(extra, name), text)
    if tf.io.gfile.exists(folder):
        tf.io.gfile.rmtree(folder)
    tf.io.gfile.rename(part, folder)


def save_litert(model: SoundNet, path: str, outputs: Sequence[str] = ()) -> None:
    """Write a LiteRT (TFLite) file with the signature `serving_default`, whole or not at all.

    The lengths of its input are open; `resize_tensor_input`, or a signature runner, sets them.
    """
    module = _serving(model, outputs)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": module.serve})
        data = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    file = io.BytesIO(data)
    with zipfile.ZipFile(file, "a") as archive:
        _pack_words(archive, model, outputs)
    _write_whole(path, file.getvalue())


def save_onnx(model: SoundNet, path: str, outputs: Sequence[str] = ()) -> None:
    """Write an ONNX file, whole or not at all.

    Raises:
        ExportError: the packages that make one aren't installed.
    """
    try:
        import tf2onnx
    except ImportError as error:
        raise _no_package("ONNX files are made", error) from error
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    made, _ = tf2onnx.convert.from_function(
        _serving(model, outputs).serve,
        input_signature=[tf.TensorSpec([None, None], tf.float32, name="waveform")],
        opset=ONNX_OPSET,
    )
    made.producer_name = "soundnet"
    batch, samples = made.graph.input[0].type.tensor_type.shape.dim
    batch.dim_param, samples.dim_param = "batch", "samples"
    for output in made.graph.output:
        batch, steps, _ = output.type.tensor_type.shape.dim
        batch.dim_param, steps.dim_param = "batch", f"{output.name}_steps"
    for name, text in _words(model, outputs).items():
        made.metadata_props.add(key=name, value=text)
    _write_whole(path, made.SerializeToString(deterministic=True))


FORMATS: dict[str, tuple[str, Callable[[SoundNet, str, Sequence[str]], None]]] = {
    "keras": ("model.keras", save_keras),
    "saved_model": ("saved_model", save_saved_model),
    "litert": ("model.tflite", save_litert),
    "onnx": ("model.onnx", save_onnx),
}
"""By the name of a format the file that `export` writes, and how."""


def export(
    model: SoundNet,
    folder: Path,
    formats: Sequence[str],
    outputs: Sequence[str] = (),
    waveforms: Sequence[np.ndarray] = (),
) -> Iterator[Exported]:
    """Write a network in some of `FORMATS`, and check each file before it takes its name.

    Args:
        outputs: heads and layers (those of `SoundNet.features`); by default all heads.
        waveforms: float32 (samples,) each, for the check: the file's own runtime must give what the
            network gives. 20 s of noise and 1 s of it are always among them.

    Yields:
        Each file, as it is done.

    Raises:
        ExportError: a package is missing, Keras runs on another backend than TensorFlow, the disk
            is full, or a file doesn't give what the network does. What stood there before is left
            as it was.
        ValueError: no such head or layer.
        OSError: the folder can't be made.
    """
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"networks are exported by TensorFlow, and Keras runs on {keras.backend.backend()} "
            "here; set KERAS_BACKEND=tensorflow"
        )
    noise = np.random.default_rng(0).normal(0, WAVEFORM_PEAK / 10, 20 * SAMPLE_RATE)
    noise = noise.clip(-WAVEFORM_PEAK, WAVEFORM_PEAK).astype(np.float32)
    waveforms = [noise, noise[:SAMPLE_RATE], *waveforms]
    words = _words(model, outputs)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in words.items():
        write_whole(str(folder / name), text)
    for name in formats:
        file, save = FORMATS[name]
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as part:
            written, path = Path(part) / file, folder / file
            try:
                save(model, str(written), outputs)
            except (OSError, tf.errors.OpError) as error:
                raise ExportError(f"{path} can't be written: {error}") from error
            differences = check(model, written, waveforms, outputs)
            files = [found for found in [written, *written.rglob("*")] if found.is_file()]
            size = sum(found.stat().st_size for found in files)
            if written.is_dir() and path.is_dir():  # a folder can't replace one that holds files
                path.rename(Path(part) / "old")
            os.replace(written, path)
        yield Exported(path, size, differences)


def check(
    model: SoundNet, path: Path, waveforms: Sequence[np.ndarray], outputs: Sequence[str] = ()
) -> dict[str, float]:
    """By output the largest difference between an exported file and its network.

    Args:
        path: a file (or SavedModel) that the functions above wrote, with these outputs.
        waveforms: float32 (samples,) each.

    Raises:
        ExportError: its runtime is missing, or it gives something else.
    """
    run, wanted = load(path, outputs), _Outputs(model, outputs)
    differences = dict.fromkeys(wanted.names, 0.0)
    for waveform in waveforms:
        with tf.device("CPU"):  # a GPU may compute in fewer digits
            expected = wanted(waveform[np.newaxis])
        found = run(waveform[np.newaxis])
        if found.keys() != expected.keys():
            raise ExportError(f"{path} gives {', '.join(found)}; {', '.join(expected)} are wanted")
        for name, values in expected.items():
            if found[name].shape != values.shape or found[name].dtype != np.float32:
                raise ExportError(
                    f"{path}: {name} is {found[name].dtype} {found[name].shape}; float32 "
                    f"{values.shape} is wanted"
                )
            largest = float(np.abs(found[name] - values).max())
            if not largest <= LARGEST_DIFFERENCE * max(1.0, float(np.abs(values).max())):
                raise ExportError(
                    f"{path}: {name} differs by {largest:.2g} from the network for "
                    f"{len(waveform):,} samples; please report this with the versions of the "
                    "packages (`pip freeze`)"
                )
            differences[name] = max(differences[name], largest)
    return differences


def load(path: Path, outputs: Sequence[str] = ()) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """An exported file as its own runtime runs it: waveforms (batch, samples) in, outputs out.

    The runtime is told by the name: Keras for `.keras` (which needs to be told the outputs), LiteRT
    for `.tflite`, ONNX Runtime for `.onnx`, TensorFlow for a folder.

    Raises:
        ExportError: ONNX Runtime isn't installed.
    """
    if path.suffix == ".keras":
        return _Outputs(keras.saving.load_model(path, compile=False), outputs)
    if path.suffix == ".tflite":
        interpreter = tf.lite.Interpreter(str(path), num_threads=os.cpu_count())
        runner = interpreter.get_signature_runner("serving_default")
        return lambda waveforms: runner(waveform=waveforms)
    if path.suffix == ".onnx":
        try:
            import onnxruntime
        except ImportError as error:
            raise _no_package("ONNX files are checked", error) from error
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return lambda waveforms: dict(
            zip(names, session.run(names, {"waveform": waveforms}), strict=True)
        )
    module = tf.saved_model.load(str(path))

    def serve(waveforms: np.ndarray) -> dict[str, np.ndarray]:
        found = module.signatures["serving_default"](waveform=tf.constant(waveforms))
        return {name: values.numpy() for name, values in found.items()}

    return serve


def heads_json(heads: Mapping[str, Sequence[str]]) -> str:
    """By the name of a head its class names, in the order of the outputs."""
    return json.dumps(heads, indent=1, ensure_ascii=False) + "\n"


def waveform_json(model: SoundNet, outputs: Sequence[str] = ()) -> str:
    """What must be known of a network's input and of the time of its outputs.

    `sample_rate`, `channels`, `full_scale` (the value of the loudest sample); `shortest`: samples
    below which a waveform is repeated; by output `first_seconds`, the centre of what the first step
    hears, and `hop_seconds` from one to the next.
    """
    wanted, architecture = _Outputs(model, outputs), model.architecture
    times = {
        name: {
            "first_seconds": architecture.output_centres(row, 1)[0] / SAMPLE_RATE,
            "hop_seconds": architecture.hop(row) / SAMPLE_RATE,
        }
        for name, row in wanted.rows.items()
    }
    words = {
        "sample_rate": SAMPLE_RATE,
        "channels": 1,
        "full_scale": WAVEFORM_PEAK,
        "shortest": wanted.shortest,
        "outputs": times,
    }
    return json.dumps(words, indent=1) + "\n"


class _Outputs:
    """Some outputs of a network, as exported files give them; called with waveforms, as NumPy has
    them, it computes them with Keras alone.

    Attributes:
        names: of the outputs, heads and layers.
        distributions: the heads among them that give probabilities.
        rows: by the name of an output the row of the architecture's table that it belongs to.
        shortest: samples that give one step of each.
        features: the network that ends there, with logits for heads.
    """

    def __init__(self, model: SoundNet, outputs: Sequence[str]) -> None:
        # A network without heads, an autoencoder's encoder, gives its last layer.
        self.names = tuple(dict.fromkeys(outputs or model.heads or model.architecture.names[-1:]))
        self.features = model.features(self.names)
        heads, last = model.heads.keys(), model.architecture.names[-1]
        self.distributions = set(self.names) & heads - model.embeddings
        self.rows = {name: last if name in heads else name for name in self.names}
        self.shortest = max(map(model.architecture.min_samples, self.rows.values()))

    def __call__(self, waveforms: np.ndarray) -> dict[str, np.ndarray]:
        heard = np.stack([tile_to(waveform, self.shortest) for waveform in waveforms])
        found = self.features(heard, training=False)
        found |= {name: keras.ops.softmax(found[name]) for name in self.distributions}
        return {name: keras.ops.convert_to_numpy(values) for name, values in found.items()}


def _serving(model: SoundNet, outputs: Sequence[str]) -> tf.Module:
    """A module whose `serve` is what the exported files compute."""
    wanted = _Outputs(model, outputs)
    shortest = wanted.shortest

    def serve(waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        samples = tf.shape(waveform)[1]
        tf.debugging.assert_positive(samples, "an empty waveform can't be heard")
        # LiteRT has no assertions, and would divide by 0: there this slice fails.
        first = tf.slice(waveform, [0, 0], [-1, 1])
        heard = tf.concat([first, waveform[:, 1:]], 1)
        repeats = (shortest + samples - 1) // tf.maximum(samples, 1)
        tiled = tf.tile(heard, tf.stack([1, tf.maximum(repeats, 1)]))
        found = wanted.features(tiled[:, : tf.maximum(samples, shortest)], training=False)
        found = {name: tf.cast(values, tf.float32) for name, values in found.items()}
        return found | {name: tf.nn.softmax(found[name]) for name in wanted.distributions}

    module = tf.Module()
    # Not the model: Keras's variables and TensorFlow's inside them would both be written.
    module.weights = [weight.value for weight in wanted.features.weights]
    signature = tf.TensorSpec([None, None], tf.float32, name="waveform")
    module.serve = tf.function(serve, input_signature=[signature], autograph=False)
    return module


def _words(model: SoundNet, outputs: Sequence[str]) -> dict[str, str]:
    """By the name of a file what it says of an exported network."""
    names = outputs or model.heads
    heads = {name: classes for name, classes in model.heads.items() if name in names}
    return {HEADS_FILE: heads_json(heads), WAVEFORM_FILE: waveform_json(model, outputs)}


def _pack_words(archive: zipfile.ZipFile, model: SoundNet, outputs: Sequence[str]) -> None:
    for name, text in _words(model, outputs).items():
        archive.writestr(zipfile.ZipInfo(name), text)


def _write_whole(path: str, data: bytes) -> None:
    with tf.io.gfile.GFile(path + ".part", "wb") as file:
        file.write(data)
    tf.io.gfile.rename(path + ".part", path, overwrite=True)


def _no_package(what: str, error: ImportError) -> ExportError:
    return ExportError(
        f"{what} with packages that aren't installed or don't load here ({error}); "
        "pip install 'soundnet[export]'"
    )
