"""A worker process of the local runner: Beam's own, but quiet, and gone when its launcher is gone.

Not for people: `pipeline.build` has Beam start it. Beam's local runner doesn't hand its options to
its workers, so the log level can't be set from there.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import threading
import time

_LOOK_SECONDS = 1.0


def command(processes: int) -> str:
    """How Beam starts one of so many (it runs it in a shell; nothing of a user's is in it).

    Each has its own TensorFlow: together their threads should not outnumber the cores. What the
    environment says about that already stays.
    """
    threads = max(1, (os.cpu_count() or 1) // processes)
    return (
        f"TF_NUM_INTRAOP_THREADS=${{TF_NUM_INTRAOP_THREADS:-{threads}}} "
        "TF_NUM_INTEROP_THREADS=${TF_NUM_INTEROP_THREADS:-1} "
        f"exec {shlex.quote(sys.executable)} -m pipeline.worker"
    )


def end_with_parent(group: bool = False) -> None:
    """Have this process end when the one that started it has ended, however that ended.

    Args:
        group: end the process group too, of which this process is the leader.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
        if group:
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the launcher answers it
    # What goes wrong with a video is in the ledger; what goes wrong with a worker is raised in the
    # launcher.
    logging.disable(logging.ERROR)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
