"""A worker process of the local runner: Beam's own, but quiet, and gone when its launcher is gone
or has dropped its leash, a folder.

Not for people: `pipeline.running` has Beam start it. Beam's local runner doesn't hand its options
to its workers, so the log level can't be set from there.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import threading
import time

LOOK_SECONDS = 1.0
"""How often a process looks whether it is still wanted."""


def command(processes: int, leash: str) -> str:
    """How Beam starts one of so many (it runs it in a shell; nothing of a stranger's is in it).

    Ctrl-C reaches all processes of a terminal, and the launcher alone answers it: a worker is deaf
    to it from its first moment on.

    Each has its own TensorFlow: together their threads should not outnumber the cores. What the
    environment says about that already stays.
    """
    threads = max(1, (os.cpu_count() or 1) // processes)
    return (
        f"trap '' INT; TF_NUM_INTRAOP_THREADS=${{TF_NUM_INTRAOP_THREADS:-{threads}}} "
        "TF_NUM_INTEROP_THREADS=${TF_NUM_INTEROP_THREADS:-1} "
        f"exec {shlex.quote(sys.executable)} -m pipeline.worker {shlex.quote(leash)}"
    )


def end_with_parent(group: bool = False, leash: str = "/") -> None:
    """Have this process end when the one that started it has ended, however that ended.

    Args:
        group: end the process group too, of which this process is the leader.
        leash: end it also when this folder is gone.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent and os.path.isdir(leash):
            time.sleep(LOOK_SECONDS)
        if group:
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    end_with_parent(leash=sys.argv.pop())
    # What goes wrong with a video is in the ledger; what goes wrong with a worker is raised in the
    # launcher.
    logging.disable(logging.ERROR)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
