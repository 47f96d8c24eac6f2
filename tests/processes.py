"""What processes a process has started, for tests that kill or count them."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> list[int]:
    """Process ids of all that a process started, and of what those started."""
    try:
        threads = Path(f"/proc/{pid}/task").iterdir()
        text = " ".join((thread / "children").read_text() for thread in threads)
    except OSError:
        return []
    found = [int(child) for child in text.split()]
    return found + [grandchild for child in found for grandchild in children(child)]


def cmdline(pid: int) -> bytes:
    """A process's command, or nothing when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def started_by(pid: int, words: bytes) -> list[int]:
    """Process ids of what a process started, at any depth, with these words in its command."""
    return [child for child in children(pid) if words in cmdline(child)]
