"""PyTorch weights without PyTorch: tensors become NumPy arrays, and nothing else is admitted.

A pickle can name any function and call it. The unpickler here knows four names, maps them to
harmless ones of its own, and refuses every other.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from teacher.spec import TeacherError

# PyTorch's `torch/serialization.py`, the format of `torch.save` before 1.6.
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


class _Tensor(NamedTuple):
    """The arguments of `torch._utils._rebuild_tensor_v2`."""

    storage: tuple
    offset: int
    shape: tuple
    strides: tuple
    requires_grad: bool
    hooks: OrderedDict


_ADMITTED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _TensorsOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ADMITTED:
            raise TeacherError(
                f"the weights file asks for {module}.{name}; only tensors are read. Don't open "
                "this file with anything else either: it may run code"
            )
        return _ADMITTED[module, name]

    def persistent_load(self, pid: object) -> object:
        return pid


def read_state_dict(data: bytes) -> dict[str, np.ndarray]:
    """The tensors, by name, of a state dict as `torch.save` wrote it before PyTorch 1.6.

    That format is five pickles (magic number, protocol, machine, state dict, keys of the storages),
    then each storage: the number of its elements as int64, and their bytes.

    Raises:
        TeacherError: the bytes are something else, are damaged, or name anything but tensors.
    """
    stream = io.BytesIO(data)
    try:
        if _TensorsOnly(stream).load() != MAGIC or _TensorsOnly(stream).load() != PROTOCOL:
            raise TeacherError("not a state dict of torch.save's format before PyTorch 1.6")
        if not _TensorsOnly(stream).load()["little_endian"]:
            raise TeacherError("the weights are big-endian; only little-endian ones are read")
        tensors = _TensorsOnly(stream).load()
        keys = _TensorsOnly(stream).load()
        dtypes = {tensor.storage[2]: tensor.storage[1] for tensor in tensors.values()}
        storages = {}
        for key in keys:
            (count,) = struct.unpack("<q", stream.read(8))
            dtype = np.dtype(dtypes[key])
            storages[key] = np.frombuffer(data, dtype, count, stream.tell())
            stream.seek(count * dtype.itemsize, io.SEEK_CUR)
        return {name: _array(tensor, storages) for name, tensor in tensors.items()}
    except TeacherError:
        raise
    except (pickle.UnpicklingError, struct.error, EOFError, MemoryError, OverflowError) as error:
        raise TeacherError(f"the weights file is damaged: {error}") from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise TeacherError(f"the weights file doesn't hold a state dict: {error!r}") from error


def _array(tensor: _Tensor, storages: dict[str, np.ndarray]) -> np.ndarray:
    """The tensor as an array of its own; `ValueError` if it reaches out of its storage."""
    storage = storages[tensor.storage[2]]
    steps = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((length - 1) * stride for length, stride in steps)
    if min(tensor.offset, *tensor.shape, *tensor.strides, 0) < 0 or last >= len(storage):
        raise ValueError(f"a tensor of shape {tensor.shape} reaches out of its storage")
    view = np.lib.stride_tricks.as_strided(
        storage[tensor.offset :],
        tensor.shape,
        [stride * storage.itemsize for stride in tensor.strides],
        writeable=False,
    )
    return np.array(view)
