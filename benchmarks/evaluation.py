"""The evaluation on ESC-10, whole: time and peak memory, the cache of features empty and full.

    python -m benchmarks.evaluation --data ESC-50-master --output evaluation.json

Runs `python -m evaluation esc10` twice, all of its layers and both protocols unless told otherwise,
with a cache of its own: `cold` hears the sounds and trains the SVMs, `warm` only trains. Memory is
that of the tree of processes, see `benchmarks.memory`. Both must give the same figures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import machine
from benchmarks.memory import Memory


def run(options: list[str], folder: Path) -> tuple[dict[str, object], dict[str, dict[str, float]]]:
    """One run: what it took; by protocol and row the accuracy."""
    command = [sys.executable, "-m", "evaluation", "esc10", *options, "--output", str(folder)]
    started, before = time.monotonic(), machine.processor_seconds()
    with (folder / "words").open("w+") as words:
        running = subprocess.Popen(command, stdout=words, stderr=words)
        memory = Memory(running.pid)
        memory.watch(running)
        if running.returncode:
            words.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{words.read()[-2000:]}")
    found = json.loads((folder / "esc10.json").read_text("utf-8"))
    accuracy = {
        name: {row: of["mean"] for row, of in rows.items()}
        for name, rows in found["details"]["protocols"].items()
    }
    taken = {
        "seconds": round(time.monotonic() - started, 1),
        "processor_seconds": round(machine.processor_seconds() - before, 1),
        "mib": memory.mebibytes(),
    }
    return taken, accuracy


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evaluation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="ESC-50, or its part ESC-10")
    parser.add_argument("--weights", default="published", metavar="W")
    parser.add_argument("--layers", nargs="+", default=[], metavar="L", help="(all of the table)")
    parser.add_argument("--output", type=Path, help="JSON file; printed too")
    args = parser.parse_args()
    options = ["--data", args.data, "--weights", args.weights]
    options += ["--layers", *args.layers] if args.layers else []
    result: dict[str, object] = {"options": options}
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cold", "warm"):
            (Path(folder) / name).mkdir()
            cache = ["--cache", str(Path(folder) / "cache")]
            result[name], accuracy = run([*options, *cache], Path(folder) / name)
            print(f"{name}: {result[name]}", file=sys.stderr)
            figures.append(accuracy)
        kept = [path.stat().st_size for path in (Path(folder) / "cache").rglob("*.npz")]
        result["cache"] = {"files": len(kept), "bytes": sum(kept)}
    result["accuracy"] = figures[0]
    result["same_figures"] = figures[0] == figures[1]
    machine.report(result, args.output)


if __name__ == "__main__":
    main()
