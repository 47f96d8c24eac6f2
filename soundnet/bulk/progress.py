"""How far a run is, on stderr: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType

LINE_SECONDS = 30.0


class Progress:
    """`with Progress(400) as progress: ... progress.add(seconds)` for each sound.

    Attributes:
        seconds: of sound, so far.
    """

    def __init__(self, sounds: int) -> None:
        self.seconds = 0.0
        self._sounds, self._done = sounds, 0
        self._started = self._said = time.monotonic()
        self._bar = _bar(sounds) if sys.stderr.isatty() else None

    def add(self, seconds: float = 0.0) -> None:
        """A sound is done with, that had so many seconds."""
        self.seconds += seconds
        self._done += 1
        if self._bar:
            self._bar.update(self._bar.task_ids[0], advance=1, sound=self.sound())
        elif time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            self.say(f"{self._done} of {self._sounds}, {self.sound()}")

    def say(self, line: str) -> None:
        """Print a line on stderr, above the bar."""
        if self._bar:
            from rich.text import Text

            self._bar.console.print(Text(line), soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def sound(self) -> str:
        """How much sound, and how fast."""
        passed = max(time.monotonic() - self._started, 1e-9)
        speed = self.seconds / passed
        return f"{self.seconds / 3600:.2f} h of sound, {speed:.{speed < 10:d}f} x real time"

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()


def _bar(sounds: int):
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    bar = Bars(
        TextColumn("embedding"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[sound]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    bar.add_task("", total=sounds, sound="")
    return bar
