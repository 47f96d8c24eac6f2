"""What a person watches while videos are read: done, failed, clips, rate, time left."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.store import Store


@dataclass(frozen=True)
class Count:
    """How far a run is; the names are those of the Beam counters."""

    videos_done: int = 0
    videos_failed: int = 0
    clips: int = 0

    @property
    def videos(self) -> int:
        return self.videos_done + self.videos_failed

    def __add__(self, other: Count) -> Count:
        return Count(
            self.videos_done + other.videos_done,
            self.videos_failed + other.videos_failed,
            self.clips + other.clips,
        )


def count(store: Store) -> Count:
    """What the work folder holds now."""
    videos = store.videos().values()
    return Count(
        videos_done=sum(video.is_settled and not video.cause for video in videos),
        videos_failed=sum(bool(video.cause) for video in videos),
        clips=sum(len(video.clips) for video in videos if not video.cause),
    )


class Watch:
    """Shows progress while its `with` block runs: a bar on a terminal, else a line now and then.

    Args:
        total: videos of the run, those settled before it was resumed counted in.
    """

    def __init__(self, total: int, every_seconds: float = 10.0) -> None:
        self.total = total
        self.console = Console(file=sys.stderr)
        self.every_seconds = 1.0 if self.console.is_terminal else every_seconds
        self._store: Store | None = None
        self._before = Count()  # of the portions that are finished
        self._first: int | None = None  # videos settled when this process began
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def reading(self, store: Store) -> None:
        """A portion begins: count what is in its work folder."""
        with self._lock:
            self._store = store
            if self._first is None:
                self._first = count(store).videos

    def packing(self) -> None:
        """The portion is read: its work folder will soon be gone, but it still counts."""
        with self._lock:
            if self._store:
                self._before += count(self._store)
                self._store = None

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _count(self) -> Count:
        with self._lock:
            return self._before + (count(self._store) if self._store else Count())

    def _run(self) -> None:
        started = time.monotonic()
        bar = Progress(
            TextColumn("videos"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        with bar:
            task = bar.add_task("videos", total=self.total, words="")
            stopped = False
            while not stopped:
                stopped = self._stop.wait(self.every_seconds)
                looked = time.monotonic()
                now = self._count()
                here = now.videos - (self._first or 0)
                words = describe(now, here, self.total, looked - started)
                bar.update(task, completed=now.videos, words=words)
                if bar.disable:
                    self.console.print(
                        f"videos {now.videos}/{self.total}, {words}",
                        highlight=False,
                        soft_wrap=True,
                    )
                # Looking costs at most a twentieth of the time, however many files there are.
                self._stop.wait(20 * (time.monotonic() - looked) - self.every_seconds)


def describe(now: Count, videos_here: int, total: int, seconds: float) -> str:
    """The count in words; `videos_here` and `seconds` are this process's own, for the rate."""
    rate = videos_here / seconds if seconds > 0 else 0.0
    words = f"{now.videos_done} done, {now.videos_failed} failed, {now.clips} clips"
    if rate:
        left = max(0, total - now.videos) / rate
        hours, minutes = divmod(round(left / 60), 60)
        left_words = f"{hours} h {minutes:02d} min" if left >= 3600 else f"{left:.0f} s"
        if 120 <= left < 3600:
            left_words = f"{left / 60:.0f} min"
        words += f", {rate:.2f} videos/s, {left_words} left"
    return words
