"""PyTorch weights are read without PyTorch, and a pickle that would do more does nothing."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from teacher import TeacherError
from teacher.efficientnet_lite import installed_weights
from teacher.torch_weights import MAGIC, PROTOCOL, read_state_dict

MACHINE = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {}}


def opcodes(value: object) -> bytes:
    """The pickle of a plain value, without its head and its end."""
    return pickle.dumps(value, 2)[2:-1]


def state_dict(storages: dict[str, np.ndarray], tensors: dict[str, tuple]) -> bytes:
    """What `torch.save` wrote before PyTorch 1.6.

    Args:
        tensors: by name, their storage, offset, shape and strides.
    """
    body = b"\x80\x02ccollections\nOrderedDict\n)R("
    for name, (key, offset, shape, strides) in tensors.items():
        storage = b"Float" if storages[key].dtype == np.float32 else b"Long"
        body += opcodes(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        body += opcodes("storage") + b"ctorch\n" + storage + b"Storage\n" + opcodes(key)
        body += opcodes("cpu") + opcodes(len(storages[key])) + b"NtQ"
        body += opcodes(offset) + opcodes(shape) + opcodes(strides) + opcodes(False)
        body += b"ccollections\nOrderedDict\n)RtR"
    body += b"u."
    parts = [pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, MACHINE)]
    parts += [body, pickle.dumps(list(storages), 2)]
    parts += [struct.pack("<q", len(array)) + array.tobytes() for array in storages.values()]
    return b"".join(parts)


class Evil:
    """Unpickled by a plain `pickle.load`, it makes a file."""

    def __init__(self, path: Path, function: object = os.system) -> None:
        self.path, self.function = path, function

    def __reduce__(self) -> tuple:
        return self.function, (f"touch {self.path}",)


def test_tensors_share_storages_and_have_strides() -> None:
    storages = {"7": np.arange(12, dtype=np.float32), "8": np.array([5, 6])}
    tensors = {
        "rows": ("7", 0, (3, 4), (4, 1)),
        "columns": ("7", 0, (4, 3), (1, 4)),
        "part": ("7", 5, (2,), (3,)),
        "number": ("8", 1, (), ()),
    }
    read = read_state_dict(state_dict(storages, tensors))
    table = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(read["rows"], table)
    np.testing.assert_array_equal(read["columns"], table.T)
    np.testing.assert_array_equal(read["part"], [5, 8])
    assert read["number"] == 6
    assert read["number"].dtype == np.int64


def test_the_weights_of_the_wheel_are_what_pytorch_reads() -> None:
    """The digest was made with `torch.load` of PyTorch, over the tensors in the names' order."""
    read = read_state_dict(installed_weights().read_bytes())
    digest = hashlib.sha256()
    for name in sorted(read):
        digest.update(np.ascontiguousarray(read[name]))
    assert len(read) == 296
    assert digest.hexdigest() == "6db95c0e2a5c48f0dc35df06d599f36b4d47c6f37adbc6f373fb1f40e6bf62b0"


@pytest.mark.parametrize("function", [os.system, eval, exec, __import__, os.remove, open])
def test_a_pickle_that_calls_something_is_refused_and_nothing_is_called(
    tmp_path: Path, function: object
) -> None:
    trace = tmp_path / "trace"
    evil = pickle.dumps(Evil(trace, function), 2)
    heads = [pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, MACHINE)]
    for count in range(4):
        with pytest.raises(TeacherError, match="only tensors are read"):
            read_state_dict(b"".join(heads[:count]) + evil)
    assert not trace.exists()


def test_the_pickle_above_would_have_run(tmp_path: Path) -> None:
    """Otherwise the refusal proves nothing."""
    pickle.loads(pickle.dumps(Evil(tmp_path / "trace"), 2))  # noqa: S301 (made here)
    assert (tmp_path / "trace").exists()


def test_a_zip_is_refused_and_what_is_in_it_not_run(tmp_path: Path) -> None:
    """PyTorch's format since 1.6; none of the weights in use has it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil(tmp_path / "trace"), 2))
    with pytest.raises(TeacherError):
        read_state_dict(file.getvalue())
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "tensor",
    [
        ("7", 0, (13,), (1,)),
        ("7", 9, (2, 2), (2, 2)),
        ("7", -1, (2,), (1,)),
        ("7", 5, (3,), (-1,)),
        ("7", 0, (-3,), (1,)),
        ("7", 12, (), ()),
        ("7", 0, (2, 2), (1,)),
    ],
)
def test_a_tensor_never_reaches_out_of_its_storage(tensor: tuple) -> None:
    data = state_dict({"7": np.arange(12, dtype=np.float32)}, {"t": tensor})
    with pytest.raises(TeacherError, match="doesn't hold a state dict"):
        read_state_dict(data)


def test_any_truncation_is_refused() -> None:
    data = state_dict({"7": np.arange(12, dtype=np.float32)}, {"t": ("7", 0, (12,), (1,))})
    assert read_state_dict(data)["t"].sum() == 66
    for length in range(len(data)):
        with pytest.raises(TeacherError):
            read_state_dict(data[:length])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a pickle",
        pickle.dumps(MAGIC, 2) + pickle.dumps(1002, 2),
        pickle.dumps(MAGIC, 2) + pickle.dumps(PROTOCOL, 2) + pickle.dumps([1], 2),
        pickle.dumps(MAGIC, 2)
        + pickle.dumps(PROTOCOL, 2)
        + pickle.dumps({"little_endian": False}, 2),
        pickle.dumps(MAGIC, 2)
        + pickle.dumps(PROTOCOL, 2)
        + pickle.dumps(MACHINE, 2)
        + pickle.dumps({"t": 5}, 2)
        + pickle.dumps([], 2),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(TeacherError):
        read_state_dict(data)
