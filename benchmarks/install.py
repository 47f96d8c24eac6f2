"""From `pip install .` to the first embedding: what it takes of disk and of time.

    python -m benchmarks.install --sound dog.wav --python python3.11 --output install.json

For each set of extras (none, and `[all]`) an environment is made anew, this project installed into
it by pip from whatever index it is set up for, and then, in it:

  install_seconds          pip, with what is downloaded; with extras in the versions of
                           requirements.lock, for pip alone doesn't find any that fit in hours
  mib, packages            of what is installed, pip itself left out; `largest`, by folder, in MiB
  import_seconds           `import soundnet`, python's own start included (`python_seconds`)
  help_seconds             `soundnet --help`
  first_embedding_seconds  `soundnet embed SOUND`, the first one after the installation
  embedding_seconds        the same later (the median, as of import and help)

The published weights are those that are here already (`soundnet weights fetch`).
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import machine
from soundnet import weights

ROOT = Path(__file__).resolve().parents[1]
TRIES = 5


def seconds(command: list[object], folder: Path) -> float:
    """How long a command takes that must go well."""
    started = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(
            f"{' '.join(map(str, command))} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}"
        )
    return round(time.monotonic() - started, 2)


def median(command: list[object], folder: Path) -> float:
    return statistics.median(seconds(command, folder) for _ in range(TRIES))


def sizes(packages: Path) -> dict[str, float]:
    """MiB on disk by the folder or file in site-packages, largest first."""
    found = {}
    for entry in packages.iterdir():
        if not entry.name.startswith(("pip", "__pycache__")):
            files = entry.rglob("*") if entry.is_dir() else [entry]
            blocks = sum(file.lstat().st_blocks for file in files if not file.is_dir())
            found[entry.name] = round(blocks * 512 / 2**20, 1)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def constraints() -> str:
    """The versions of requirements.lock, without the hashes, which pip doesn't take here."""
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    return "\n".join(re.findall(r"^[\w.-]+==[^\\\n]+", lock, re.MULTILINE)) + "\n"


def measure(python: str, extras: str, sound: Path) -> dict[str, object]:
    """An environment with these extras, from nothing to embeddings."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True)
        there = folder / "venv" / "bin"
        source = f"{ROOT}[{extras}]" if extras else str(ROOT)
        pip = [there / "python", "-m", "pip", "install", "--disable-pip-version-check"]
        if extras:
            (folder / "constraints.txt").write_text(constraints())
            pip += ["--constraint", "constraints.txt"]
        install = seconds([*pip, source], folder)
        (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
        found = sizes(packages)
        embed = [there / "soundnet", "embed", sound.resolve(), "--overwrite", "--output", "out"]
        return {
            "install_seconds": install,
            "mib": round(sum(found.values())),
            "packages": len(list(packages.glob("*.dist-info"))) - 1,
            "largest": dict(list(found.items())[:8]),
            "first_embedding_seconds": seconds(embed, folder),
            "embedding_seconds": median(embed, folder),
            "python_seconds": median([there / "python", "-c", "pass"], folder),
            "import_seconds": median([there / "python", "-c", "import soundnet"], folder),
            "help_seconds": median([there / "soundnet", "--help"], folder),
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.install",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sound", type=Path, required=True, help="a sound file to embed")
    parser.add_argument("--python", default=sys.executable, help="(default: this one)")
    parser.add_argument(
        "--extras", nargs="*", default=["none", "all"], help="as in soundnet[...] (none all)"
    )
    parser.add_argument("--output", type=Path, help="JSON file; printed too")
    args = parser.parse_args()
    if not weights.published_path().is_file():
        parser.error("the published weights are wanted: soundnet weights fetch")
    result: dict[str, object] = {}
    for extras in args.extras:
        result[extras] = measure(args.python, "" if extras == "none" else extras, args.sound)
        print(f"{extras}: {result[extras]}", file=sys.stderr)
    machine.report(result, args.output)


if __name__ == "__main__":
    main()
