"""What a tree of processes takes is seen in whole, and nothing in it twice."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.memory import Memory

MIB = 150
CHILD = f"held = bytearray({MIB} << 20); import time; time.sleep(1)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


def test_a_childs_memory_counts_and_the_launchers_stands_alone():
    running = subprocess.Popen([sys.executable, "-c", PARENT])
    memory = Memory(running.pid)
    memory.watch(running)
    found = memory.mebibytes()
    assert running.returncode == 0
    assert MIB <= found["pss"] <= found["rss"] < 2 * MIB
    assert found["launcher_rss"] < MIB
    assert found["most_processes"] == 2


def test_children_that_have_not_become_programs_yet_are_not_counted():
    fork = (
        f"import os, time; held = bytearray({MIB} << 20); child = os.fork(); time.sleep(0.5)\n"
        "child and os.wait()"
    )
    running = subprocess.Popen([sys.executable, "-c", fork])
    memory = Memory(running.pid)
    memory.watch(running)
    assert memory.mebibytes()["most_processes"] == 1
    assert memory.mebibytes()["rss"] < 2 * MIB
