"""What a measurement was made on and with, what it cost, and how it is reported."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
from pathlib import Path

PACKAGES = ("tensorflow", "keras", "numpy", "apache-beam", "pillow", "soundfile", "miniaudio")


def describe() -> dict[str, object]:
    """The machine (processor, logical cores this process may use, memory in GiB, load while asked)
    and the versions of Python and of the packages that figures depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "load_1_minute": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def processor_seconds() -> float:
    """User and system time of this process and of those that it has ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def report(result: dict[str, object], output: Path | None) -> None:
    """Print a measurement, with the machine, as JSON; write it to a file too if one is given."""
    text = json.dumps({"machine": describe(), **result}, indent=1)
    print(text)
    if output:
        output.write_text(text + "\n", "utf-8")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
