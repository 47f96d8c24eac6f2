"""A folder that one process at a time works in. Needs no TensorFlow."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator


@contextlib.contextmanager
def alone(folder: str | os.PathLike, busy: Exception) -> Iterator[None]:
    """The folder, made, for this process alone as long as the `with` lasts; removed if nothing is
    in it. The kernel lets go of it however the process ends.

    Raises:
        busy: another process has it.
        OSError: it can't be a folder.
    """
    os.makedirs(folder, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy from None
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # there is something in it
                os.rmdir(folder)
    finally:
        os.close(descriptor)
