"""Running a graph: by worker processes of this machine, or by the cluster that Beam's options name;
and how such a run ends when a person, a worker or a disk ends it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from pipeline import worker
from pipeline.store import Store
from schemas import SchemaError

BuildGraph = Callable[..., None]
"""Called with an empty pipeline and `store`: adds what is to be done."""

_GRACE_SECONDS = 1.0
"""How long after a worker's end we wait to hear of Ctrl-C, which may have ended it."""

_ERROR_LINE = re.compile(r"[A-Za-z_.]*(Error|Exception)\b")
"""How the last line of a traceback begins."""


class RunFailed(RuntimeError):
    """The run broke off; what it had done stays, and the same command goes on from there."""


def names_runner(beam_args: Sequence[str]) -> bool:
    """Whether Beam's options say where to run; else it is the local runner."""
    return any(arg.split("=")[0] == "--runner" for arg in beam_args)


def strange_options(beam_args: Sequence[str]) -> list[str]:
    """Options that Beam itself doesn't know; a runner may know them all the same."""
    known = PipelineOptions([]).get_all_options()
    names = [arg.split("=")[0] for arg in beam_args if arg.startswith("-")]
    return [name for name in names if name.lstrip("-") not in known]


def check(beam_args: Sequence[str]) -> None:
    """Raise `SchemaError` for options that don't fit together, before anything is written."""
    _pipeline(1, beam_args, "")


def run(
    build_graph: BuildGraph, store: Store, processes: int, beam_args: Sequence[str]
) -> PipelineResult:
    """Run a graph to its end; returns Beam's result, with its metrics.

    Args:
        processes: worker processes, where no cluster is named; 1 is this process itself.

    Raises:
        RunFailed: it didn't come to its end; the whole story is in the work folder's error.txt. A
            local worker that was killed counts too: Beam itself would wait for it for ever.
        KeyboardInterrupt: Ctrl-C, whatever of Beam broke on it; no worker is left, and a cluster's
            job is told to end.
    """
    with tempfile.TemporaryDirectory(prefix="soundnet-", ignore_cleanup_errors=True) as leash:
        pipeline = _pipeline(processes, beam_args, leash)
        build_graph(pipeline, store=store)
        with _Ending(leash) as ending:
            result = None
            try:
                result = pipeline.run()
                state = result.wait_until_finish()
            except BaseException as error:
                if ending.asked:
                    if result is not None:  # a cluster would work on, and the folder is free now
                        with contextlib.suppress(Exception):
                            result.cancel()
                    raise KeyboardInterrupt from None
                if ending.died:
                    raise RunFailed(
                        f"a worker process died ({ending.died}); was there enough memory? "
                        "Run the same command again to go on, with fewer --processes if need be."
                    ) from None
                if isinstance(error, (OSError, RuntimeError, ValueError)):
                    raise _broken_off(error, store) from error
                raise
        if ending.asked:  # where nothing of Beam broke on it
            raise KeyboardInterrupt
        if state not in (None, "DONE"):
            raise RunFailed(f"the Beam job ended as {state}; the same command goes on from here")
        return result


def _pipeline(processes: int, beam_args: Sequence[str], leash: str) -> beam.Pipeline:
    """An empty graph, for the runner that Beam's options name, or else for so many processes here.

    The local runner is named: `DirectRunner` would try to download another.
    """
    options = PipelineOptions(
        # Workers need nothing of the command's `__main__`.
        [*beam_args, f"--direct_num_workers={processes}", "--no_save_main_session"]
    )
    if names_runner(beam_args):
        try:
            return beam.Pipeline(options=options)
        except ValueError as error:  # Beam's word on options that don't fit
            raise SchemaError(str(error)) from error
    environment = None
    if processes > 1:
        command = worker.command(processes, leash)
        environment = SubprocessSDKEnvironment.from_command_string(command)
    return beam.Pipeline(runner=FnApiRunner(environment), options=options)


def _broken_off(error: Exception, store: Store) -> RunFailed:
    """What broke a run off in a line; all of it goes into the work folder's error.txt."""
    report = store.work("error.txt")
    with contextlib.suppress(OSError):
        store.write(report, f"{error}\n".encode(errors="replace"))
    said = [line for line in str(error).splitlines() if _ERROR_LINE.match(line)]
    return RunFailed(
        f"the run broke off: {(said or [str(error)])[-1][:500]} (more in {report}). "
        "Run the same command again to go on."
    )


class _Ending:
    """Ends Beam's waiting, on Ctrl-C and when a worker process has died; says which came first.

    Beam would wait for ever for a worker that died, and when it is interrupted, for one that had
    only begun. So all workers hang on a leash, which is dropped then.

    Attributes:
        asked: somebody pressed Ctrl-C, before anything else went wrong.
        died: what is known of the worker that died, before anybody asked.
    """

    def __init__(self, leash: str) -> None:
        self.asked = False
        self.died = ""
        self._leash = leash
        self._worker_gone = False
        self._over = False

    def __enter__(self) -> _Ending:
        self._hook, threading.excepthook = threading.excepthook, self._notice
        self._in_main = threading.current_thread() is threading.main_thread()
        if self._in_main:
            # Also where it is ignored: so a script's shell starts what it puts into the background,
            # and then nothing could end us.
            self._handler = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *error: object) -> None:
        self._over = True
        if self.asked or self.died:  # a worker that is left behind would lament our end
            for thread in threading.enumerate():
                if thread.name == "run_worker":  # Beam's, one for each worker process
                    thread.join(3 * worker.LOOK_SECONDS)
        threading.excepthook = self._hook
        if self._in_main:
            signal.signal(signal.SIGINT, self._handler)

    def _interrupt(self, *signal_and_frame: object) -> None:
        """SIGINT has come, from a person or from `_end`."""
        if self._over:
            return
        self.asked = self.asked or not self.died
        self._drop_leash()
        raise KeyboardInterrupt

    def _drop_leash(self) -> None:
        with contextlib.suppress(OSError):
            os.rmdir(self._leash)

    def _notice(self, failure: threading.ExceptHookArgs) -> None:
        """A thread of Beam's has ended by an error."""
        why = str(failure.exc_value)
        if "Worker subprocess exited" in why:
            self._worker_gone = True
            later = threading.Timer(_GRACE_SECONDS, self._end, [why])
            later.daemon = True
            later.start()
        elif not (self._worker_gone or self.asked):  # else it is Beam's pipes to that worker
            self._hook(failure)

    def _end(self, why: str) -> None:
        if not self.asked:
            self.died = self.died or why
        self._drop_leash()
        if not self._over:
            main = threading.main_thread().ident
            assert main is not None  # it is running
            # A real signal: `_thread.interrupt_main` doesn't wake what waits for a thread or lock.
            signal.pthread_kill(main, signal.SIGINT)
