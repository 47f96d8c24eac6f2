"""What is seen of a training run: on the terminal, in TensorBoard, in `metrics.jsonl`."""

from __future__ import annotations

import contextlib
import json
import posixpath
import time
from collections import defaultdict
from collections.abc import Iterator
from types import TracebackType

import tensorflow as tf
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

METRICS_FILE = "metrics.jsonl"
TENSORBOARD = "tensorboard"

SECONDS_PER_LINE = 30.0
"""Where the output isn't a terminal, a line of the training is printed so often."""


def write_whole(path: str, text: str) -> None:
    """Write a file so that it is there in whole or not at all (local or gs://)."""
    with tf.io.gfile.GFile(path + ".part", "w") as file:
        file.write(text)
    tf.io.gfile.rename(path + ".part", path, overwrite=True)


class Interval:
    """Means of the metrics and the clock, from one point of the curves to the next.

    Args:
        batch_size: clips that a step has.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._clear()

    def _clear(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._steps = 0
        self._waited = Stopwatch()
        self._worked = Stopwatch()

    def waiting(self) -> Stopwatch:
        """For a `with` around the wait for data."""
        return self._waited

    def working(self) -> Stopwatch:
        """For a `with` around the step."""
        return self._worked

    def add(self, metrics: dict[str, float]) -> None:
        """Take in a step's metrics."""
        self._steps += 1
        for name, value in metrics.items():
            self._sums[name] += value

    def take(self) -> dict[str, float]:
        """The means since the last call, with `clips_per_second` and `waiting_share`."""
        seconds = self._waited.seconds + self._worked.seconds
        metrics = {name: value / self._steps for name, value in self._sums.items()}
        metrics["clips_per_second"] = self._steps * self._batch_size / seconds
        metrics["waiting_share"] = self._waited.seconds / seconds
        self._clear()
        return metrics


class Stopwatch:
    """Adds up the time inside `with`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._started


class RunLog:
    """Writes a run's metrics everywhere; a context manager.

    Args:
        step: where the run goes on; what an earlier run wrote of later steps is dropped from
            `metrics.jsonl`.
        writes: whether this machine is the one that writes; another prints only what it is told to
            say.

    Attributes:
        last: by split (`train`, `validation`) the metrics last written; empty if there are none.
    """

    def __init__(self, model_dir: str, step: int, steps: int, writes: bool = True) -> None:
        self._writes = writes
        self._path = posixpath.join(model_dir, METRICS_FILE)
        self._writers = {
            split: tf.summary.create_file_writer(posixpath.join(model_dir, TENSORBOARD, split))
            for split in ("train", "validation")
            if writes
        }
        rows = []
        if tf.io.gfile.exists(self._path):
            with tf.io.gfile.GFile(self._path) as file:
                # A run that was killed, or met a full disk, may have left half a line at the end.
                whole = [json.loads(line) for line in file if line.endswith("}\n")]
            rows = [row for row in whole if row["step"] <= step]
        if writes:
            write_whole(self._path, "".join(json.dumps(row) + "\n" for row in rows))
        self.last: dict[str, dict[str, float]] = {"train": {}, "validation": {}}
        for row in rows:
            self.last[row["split"]] = {k: v for k, v in row.items() if k not in ("step", "split")}
        self._console = Console(highlight=False, soft_wrap=True)
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=self._console,
            disable=not (writes and self._console.is_terminal),
        )
        self._task = self._bar.add_task("", total=steps, completed=step)
        self._steps = steps
        self._last_line = float("-inf")

    def __enter__(self) -> RunLog:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        for writer in self._writers.values():
            writer.close()

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False)

    def advance(self, step: int) -> None:
        """A step is done."""
        self._bar.update(self._task, completed=step)

    def train(self, step: int, metrics: dict[str, float]) -> None:
        """Metrics of the training since the last call; printed now and then."""
        self._write("train", step, metrics)
        text = (
            f"loss {metrics['loss']:.4f}, {metrics['clips_per_second']:.1f} clips/s, "
            f"{metrics['waiting_share']:.0%} of the time waiting for data"
        )
        self._bar.update(self._task, description=text)
        now = time.monotonic()
        if self._writes and self._bar.disable and now - self._last_line > SECONDS_PER_LINE:
            self._last_line = now
            self.say(f"step {step:,} of {self._steps:,}: {text}")

    def validation(self, step: int, metrics: dict[str, float], teachers: list[str]) -> None:
        """Metrics of a validation; always printed."""
        self._write("validation", step, metrics)
        if not self._writes:
            return
        by_teacher = "".join(
            f"; {name}: cosine {metrics[f'cosine/{name}']:.3f} (best constant "
            f"{metrics[f'cosine_constant/{name}']:.3f})"
            if f"cosine/{name}" in metrics
            else f"; {name}: KL {metrics[f'kl/{name}']:.3f} nats (best constant "
            f"{metrics[f'kl_constant/{name}']:.3f}), top-1 {metrics[f'top1/{name}']:.1%}, "
            f"top-5 {metrics[f'top5/{name}']:.1%}"
            for name in teachers
        )
        self.say(f"step {step:,}: validation loss {metrics['loss']:.4f}{by_teacher}")

    def _write(self, split: str, step: int, metrics: dict[str, float]) -> None:
        self.last[split] = metrics
        if not self._writes:
            return
        with tf.io.gfile.GFile(self._path, "a") as file:
            file.write(json.dumps({"step": step, "split": split, **metrics}) + "\n")
        with self._writers[split].as_default():
            for name, value in metrics.items():
                tf.summary.scalar(name, value, step=step)
        self._writers[split].flush()


WARM_UP = 2
"""Steps of a call that are never traced: in these the graph is built and memory is laid out."""


class Profile:
    """Traces some steps for TensorBoard's profiler (`tensorboard-plugin-profile`).

    Args:
        step: where this call begins.
        steps: how many to trace.
    """

    def __init__(self, model_dir: str, step: int, steps: int) -> None:
        self._folder = posixpath.join(model_dir, TENSORBOARD, "train")
        self._traced = range(step + WARM_UP + 1, step + WARM_UP + 1 + steps)
        self._on = False

    def __enter__(self) -> Profile:
        return self

    @contextlib.contextmanager
    def step(self, step: int) -> Iterator[None]:
        """While a step is done."""
        if step not in self._traced:
            yield
            return
        if not self._on:
            tf.profiler.experimental.start(self._folder)
            self._on = True
        with tf.profiler.experimental.Trace("train", step_num=step, _r=1):
            yield
        if step == self._traced[-1]:
            self._stop()

    def _stop(self) -> None:
        tf.profiler.experimental.stop()
        self._on = False

    def __exit__(self, *_: object) -> None:
        if self._on:
            self._stop()
