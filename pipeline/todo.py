"""What is to do: videos, and the lanes among which they are shared out."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from pipeline.settings import Settings
from schemas.video_list import VideoRow


@dataclass(frozen=True, slots=True)
class Todo:
    """A video to read.

    Attributes:
        attempts: how often it was tried before this run.
        problem: why the row of the list can't be used; "" for a good one.
    """

    row: VideoRow
    split: str
    attempts: int = 0
    problem: str = ""

    @property
    def host(self) -> str:
        """The host that the video is downloaded from; "" for paths and object stores, which need
        no manners."""
        parts = urlsplit(self.row.url) if self.row.is_web else None
        return (parts.hostname or "").removeprefix("www.") if parts else ""


@dataclass(frozen=True)
class Lane:
    """What one worker thread does: so many videos, some of them at a time.

    The limits for a host hold across all workers because they are divided among the lanes before
    these start; no lane needs to know what another does.

    Attributes:
        readers: videos read at a time.
        per_host: downloads at a time from one host.
        gap_seconds: least time between two starts at one host.
    """

    readers: int
    per_host: int
    gap_seconds: float
    todos: tuple[Todo, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Lane:
        data = json.loads(line)
        todos = (Todo(**{**todo, "row": VideoRow(**todo["row"])}) for todo in data.pop("todos"))
        return cls(**data, todos=tuple(todos))


def share_out(todos: Sequence[Todo], lanes: int, readers: int, settings: Settings) -> list[Lane]:
    """Share videos out among at most so many lanes, evenly and the same way each time.

    A host that allows fewer downloads at a time than there are lanes is known to that many lanes
    only; each host begins at another lane.
    """
    spread = min(lanes, settings.per_host)
    shares: list[list[Todo]] = [[] for _ in range(lanes)]
    met: Counter[str] = Counter()
    for todo in todos:
        host = todo.host
        first = int.from_bytes(hashlib.sha256(host.encode()).digest()[:4], "big") if host else 0
        shares[(first + met[host] % (spread if host else lanes)) % lanes].append(todo)
        met[host] += 1
    return [
        Lane(
            readers=readers,
            per_host=settings.per_host // spread,
            gap_seconds=spread / settings.host_rate,
            todos=tuple(share),
        )
        for share in shares
        if share
    ]
