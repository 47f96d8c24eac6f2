"""What a measurement was made on and with, what it cost, and how it is reported."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Mapping
from pathlib import Path

from evaluation import machine

PACKAGES = ("tensorflow", "keras", "numpy", "apache-beam", "pillow", "soundfile", "miniaudio")


def describe() -> dict[str, object]:
    """The machine, its load while asked, and the versions of the packages that figures depend
    on."""
    return {
        **machine.describe(),
        "load_1_minute": round(os.getloadavg()[0], 2),
        "versions": machine.versions(PACKAGES),
    }


def processor_seconds() -> float:
    """User and system time of this process and of those that it has ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def report(result: Mapping[str, object], output: Path | None) -> None:
    """Print a measurement, with the machine, as JSON; write it to a file too if one is given."""
    text = json.dumps({"machine": describe(), **result}, indent=1)
    print(text)
    if output:
        output.write_text(text + "\n", "utf-8")
