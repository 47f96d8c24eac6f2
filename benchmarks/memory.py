"""Peak memory of `python -m pipeline`: for few videos, for many, and for a long one.

    python -m benchmarks.memory --videos videos.csv --output memory.json

Each list is read twice: from this disk, and through an HTTP server on this machine. The files are
those of the list, again and again under other ids; the long video is the list's first file, looped
by ffmpeg without being encoded anew.

Memory is that of the whole tree of processes, looked at every 50 ms, or as often as takes a
twentieth of a core: `pss` counts what several processes share once, `rss` once for each. At the
peak of `pss` it is also given by the programs' names. `launcher_rss` is the kernel's own record of
the first process. All in MiB.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import machine
from media import process
from pipeline.__main__ import read_list
from schemas import ledger

LOOK_SECONDS = 0.05


class Memory:
    """The memory of a tree of processes, now and at its most."""

    def __init__(self, root: int) -> None:
        self.root = root
        self.peak = Counter(pss=0, rss=0, processes=0)
        self.at_peak: Counter[str] = Counter()
        self.launcher = 0

    def look(self) -> None:
        """Take a sample; processes that end meanwhile don't count."""
        now: Counter[str] = Counter()
        names: Counter[str] = Counter()
        for pid in programs(self.root):
            with contextlib.suppress(OSError):
                fields = _fields(Path(f"/proc/{pid}/smaps_rollup"))
                now += Counter(pss=fields["Pss"], rss=fields["Rss"], processes=1)
                names[Path(f"/proc/{pid}/comm").read_text().strip()] += fields["Pss"]
        with contextlib.suppress(OSError, KeyError):  # KeyError: it has ended, not been waited for
            self.launcher = _fields(Path(f"/proc/{self.root}/status"))["VmHWM"]
        if now["pss"] > self.peak["pss"]:
            self.at_peak = names
        self.peak |= now

    def watch(self, running: subprocess.Popen) -> None:
        while running.poll() is None:
            started = time.thread_time()
            self.look()
            time.sleep(max(LOOK_SECONDS, 19 * (time.thread_time() - started)))

    def mebibytes(self) -> dict[str, object]:
        return {
            "pss": self.peak["pss"] // 1024,
            "rss": self.peak["rss"] // 1024,
            "launcher_rss": self.launcher // 1024,
            "at_peak_pss": {name: kib // 1024 for name, kib in self.at_peak.most_common()},
            "most_processes": self.peak["processes"],
        }


def programs(pid: int, parent: bytes = b"") -> Iterator[int]:
    """A process and all that it and its children have started.

    parent: the command line of the process that started it. A child has the same, and its parent's
        memory, until it has become a program of its own; that memory isn't counted twice.
    """
    with contextlib.suppress(OSError):
        folder = Path(f"/proc/{pid}")
        command = (folder / "cmdline").read_bytes()
        if command != parent:
            yield pid
        for task in list((folder / "task").iterdir()):
            for child in (task / "children").read_text().split():
                yield from programs(int(child), command)


def _fields(path: Path) -> dict[str, int]:
    """The numbers (KiB) of a file of lines like `Pss:   12 kB`."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {line[0][:-1]: int(line[1]) for line in lines if len(line) == 3 and line[2] == "kB"}


class Server(http.server.ThreadingHTTPServer):
    """Gives files under addresses of the form /NUMBER/NAME."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.paths = paths

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client may go when it has seen enough."""

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.server_port}/{number}/{Path(self.paths[number]).name}"


class _Handler(http.server.SimpleHTTPRequestHandler):
    server: Server

    def translate_path(self, path: str) -> str:
        return self.server.paths[int(path.split("/")[1])]

    def log_message(self, *_: object) -> None:
        pass


def run(urls: Sequence[str], options: Sequence[str]) -> dict[str, object]:
    """The pipeline on a list of so many rows: its memory, its time, what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        videos, output = Path(folder, "videos.jsonl"), Path(folder, "data")
        rows = [{"id": str(number), "url": url} for number, url in enumerate(urls)]
        videos.write_text("".join(json.dumps(row) + "\n" for row in rows))
        command = [sys.executable, "-m", "pipeline"]
        command += ["--input", str(videos), "--output", str(output)]
        started = time.monotonic()
        with Path(folder, "words").open("w+") as words:
            running = subprocess.Popen([*command, *options], stdout=words, stderr=words)
            memory = Memory(running.pid)
            memory.watch(running)
            if running.returncode:
                words.seek(0)
                sys.exit(f"{' '.join(command)} failed:\n{words.read()[-2000:]}")
        seconds = time.monotonic() - started
        lines = [line for file in output.glob("ledger-*") for line in file.read_text().splitlines()]
        found = [ledger.LedgerRow.from_json(line) for line in lines]
    return {
        "videos": len(urls),
        "outcomes": dict(Counter(row.cause or row.outcome for row in found)),
        "clips": sum(row.clips for row in found),
        "sound_seconds": round(sum(row.media_seconds for row in found)),
        "seconds": round(seconds, 1),
        "mib": memory.mebibytes(),
    }


def looped(path: str, hours: float, folder: str) -> str:
    """A video of so many hours: a file again and again, as it is."""
    long = Path(folder, "long.mkv")
    command = [process.binary(), "-v", "error", "-nostdin", "-stream_loop", "-1"]
    command += ["-i", f"file:{path}", "-t", str(3600 * hours), "-c", "copy", str(long)]
    subprocess.run(command, check=True)
    return str(long)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--videos", required=True, help="video list or folder, local files")
    parser.add_argument("--teachers", nargs="*", default=["imagenet"])
    parser.add_argument("--processes", type=int, default=2, help="videos at a time (default 2)")
    parser.add_argument(
        "--counts", type=int, nargs="*", default=[50, 500], help="rows (default 50 500)"
    )
    parser.add_argument("--hours", type=float, default=3, help="of the long video (default 3)")
    parser.add_argument("--output", type=Path, help="JSON file; printed too")
    args = parser.parse_args()
    paths = [row.url for row in read_list(args.videos)[0]]
    options = ["--processes", str(args.processes), "--teachers", *(args.teachers or ["none"])]
    # The server is here and bears any pace.
    web = ["--allow-local-network", "--per-host", "8", "--host-rate", "1000"]
    result: dict[str, object] = {"options": options, "web_options": web}
    with tempfile.TemporaryDirectory() as folder:
        long = looped(paths[0], args.hours, folder)
        result["long_video"] = {
            "hours": args.hours,
            "looped": Path(paths[0]).name,
            "bytes": Path(long).stat().st_size,
        }
        lists = {f"{n}_videos": [paths[i % len(paths)] for i in range(n)] for n in args.counts}
        for name, some in (lists | {"long_video": [long]}).items():
            server = Server(some)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            urls = [server.url(number) for number in range(len(some))]
            for source, rows, more in (("disk", some, []), ("http", urls, web)):
                found = run(rows, [*options, *more])
                result[f"{name}_from_{source}"] = found
                print(f"{name} from {source}: {found}", file=sys.stderr)
            server.shutdown()
    machine.report(result, args.output)


if __name__ == "__main__":
    main()
