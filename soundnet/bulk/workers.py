"""The processes that embed: this one, or several that each load the network once.

A process that dies takes one sound with it, which is named, and is replaced.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, cast

MAX_THREADS = 8
"""Threads of TensorFlow's that a process computes with, at most.

Up to here the number of threads changes no bit of an answer (`tests/soundnet/test_same.py`); with
16, TensorFlow adds up the heads in another order (6e-7 of the largest value).
"""


class Worker(Protocol):
    """What does the work: made once in a process, by calling what is handed to `Pool`.

    facts: what is known of the work once it can begin.
    """

    facts: Any

    def __call__(self, task: Any, /) -> Any: ...


class WorkerDied(Exception):
    """The process that had a task is gone; the message says how."""


def use_threads(processes: int = 1) -> None:
    """Have TensorFlow, not yet imported, share the cores with so many processes."""
    share = max(1, min(MAX_THREADS, len(os.sched_getaffinity(0)) // processes))
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(share))


class Pool:
    """Workers for tasks: one in this process, or several in processes of their own.

    Args:
        make: makes a worker; a class or function of a module, or a `functools.partial` of one. What
            it raises in a process is raised here.
        processes: how many.

    Raises:
        WorkerDied: a process is gone before it could take a task.
    """

    def __init__(self, make: Callable[[], Worker], processes: int) -> None:
        self._make, self._processes = make, processes
        self._running: dict[Connection, _Process] = {}
        if processes == 1:
            use_threads()
            self._worker = make()
            self.facts = self._worker.facts
        else:
            for _ in range(processes):
                self._start()
            try:
                self.facts, *_ = [self._receive(connection) for connection in list(self._running)]
            except BaseException:
                self.close()
                raise

    def answers(self, tasks: Iterable) -> Iterator[tuple[Any, Any]]:
        """Each task with what came of it, or a `WorkerDied`, as they are done."""
        if self._processes == 1:
            for task in tasks:
                yield task, self._worker(task)
            return
        waiting = iter(tasks)
        idle = deque(self._running)
        busy: dict[Connection, Any] = {}
        while True:
            while idle:
                try:
                    task = next(waiting)
                except StopIteration:
                    break
                connection = idle.popleft()
                busy[connection] = task
                self._running[connection].send(task)
            if not busy:
                return
            for ready in wait(list(busy)):
                connection = cast(Connection, ready)
                task = busy.pop(connection)
                try:
                    yield task, self._receive(connection)
                    idle.append(connection)
                except WorkerDied as died:
                    yield task, died
                    replaced = self._start()
                    self._receive(replaced)
                    idle.append(replaced)

    def _start(self) -> Connection:
        process = _Process(self._make, self._processes)
        self._running[process.connection] = process
        return process.connection

    def _receive(self, connection: Connection):
        """What a process sends; raises what it raised, `WorkerDied` where it is gone."""
        try:
            answer = connection.recv()
        except (EOFError, ConnectionError):
            raise WorkerDied(self._running.pop(connection).how_it_ended()) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """End the processes."""
        for process in self._running.values():
            process.end()
        self._running.clear()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Process:
    """One process that works, and the line to it."""

    def __init__(self, make: Callable[[], Worker], processes: int) -> None:
        # A fork would inherit TensorFlow's threads' locks.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, processes), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, task: object) -> None:
        # It may be gone; whoever waits for its answer is told so.
        with contextlib.suppress(ConnectionError):
            self.connection.send(task)

    def how_it_ended(self) -> str:
        self.connection.close()
        self._process.join()
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"the process that heard it ended by signal {-code} ({signal.strsignal(-code)})"
        return f"the process that heard it ended with exit code {code}"

    def end(self) -> None:
        self.connection.close()
        self._process.terminate()
        self._process.join()


def _serve(connection: Connection, make: Callable[[], Worker], processes: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits,
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # which then ends this one: tidy up
    use_threads(processes)
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # a GPU is for all of them
    try:
        worker = make()
    except Exception as error:  # noqa: BLE001 (raised there)
        connection.send(error)
        return
    answer = worker.facts
    # Until who started this has no more, or is gone.
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            connection.send(answer)
            task = connection.recv()
            try:
                answer = worker(task)
            except OSError as error:  # what it makes can't be written: the others couldn't either
                answer = error
