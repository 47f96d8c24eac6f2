"""A worker process of the local runner: Beam's own, but quiet, and gone when its launcher is gone.

Not for people: `pipeline.build` has Beam start it. Beam's local runner doesn't hand its options to
its workers, so the log level can't be set from there.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import shlex
import signal
import sys

COMMAND = f"exec {shlex.quote(sys.executable)} -m pipeline.worker"
"""How Beam starts one (it runs it in a shell; nothing of a user's is in it)."""

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it ends, however that ends."""
    with contextlib.suppress(OSError, AttributeError):  # elsewhere than on Linux it lives on
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    end_with_parent()
    # What goes wrong with a video is in the ledger; what goes wrong with a worker is raised in the
    # launcher.
    logging.disable(logging.ERROR)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
