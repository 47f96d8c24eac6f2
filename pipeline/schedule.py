"""Whose turn it is to be downloaded: politely to every host, and again later what may pass."""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

LONGEST_WAIT = 900.0
"""Seconds; where a site wants a longer wait, the video fails in this run."""

Item = TypeVar("Item")


@dataclass
class _Host(Generic[Item]):
    fresh: deque[Item] = field(default_factory=deque)
    later: list[tuple[float, int, Item]] = field(default_factory=list)  # a heap, by when
    running: int = 0
    not_before: float = 0.0


class Schedule(Generic[Item]):
    """Items by host. Not locked: its user holds a lock.

    Args:
        items: (host, item) each; items of the host "" know no bounds.
        per_host: items of one host at a time.
        gap_seconds: least time between two starts at one host.
        tries: how often an item may be tried.
        backoff_seconds: see `Settings`.
    """

    def __init__(
        self,
        items: Iterable[tuple[str, Item]],
        *,
        per_host: int,
        gap_seconds: float,
        tries: int,
        backoff_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.per_host, self.gap_seconds = per_host, gap_seconds
        self.tries, self.backoff_seconds = tries, backoff_seconds
        self._clock, self._chance, self._order = clock, chance, itertools.count()
        self._hosts: dict[str, _Host[Item]] = {}
        for host, item in items:
            self._hosts.setdefault(host, _Host()).fresh.append(item)

    @property
    def waiting(self) -> int:
        """Items that wait for their turn."""
        return sum(len(host.fresh) + len(host.later) for host in self._hosts.values())

    def take(self) -> tuple[str, Item] | float:
        """An item whose turn it is, with its host; or the seconds after which to ask again
        (infinite: not before `free` or `again` was called).

        What was taken is given back by `free`. Hosts take turns, and what is tried again comes
        before what is fresh.
        """
        now, soonest = self._clock(), float("inf")
        for name, host in list(self._hosts.items()):
            ripe = host.later and host.later[0][0] <= now
            if not host.fresh and not host.later:
                continue
            if name and host.running >= self.per_host:
                continue
            if host.not_before > now:
                soonest = min(soonest, host.not_before - now)
                continue
            if not ripe and not host.fresh:
                soonest = min(soonest, host.later[0][0] - now)
                continue
            item = heapq.heappop(host.later)[2] if ripe else host.fresh.popleft()
            host.running += 1
            host.not_before = now + self.gap_seconds if name else 0.0
            self._hosts[name] = self._hosts.pop(name)  # to the end of the row
            return name, item
        return soonest

    def free(self, name: str) -> None:
        """An item of the host is no longer under way."""
        host = self._hosts[name]
        host.running -= 1
        if (
            not host.running
            and not host.fresh
            and not host.later
            and self._clock() >= host.not_before
        ):
            del self._hosts[name]

    def again(
        self, name: str, item: Item, tried: int, retry_after: float | None, pause_host: bool
    ) -> bool:
        """Put an item that failed back for later; False if it was tried often enough.

        Args:
            tried: how often it was tried in this run.
            retry_after: seconds that the site asked to wait.
            pause_host: whether the failure concerns the whole host, which then has a rest too.
        """
        wait = self.backoff_seconds * 2 ** (tried - 1) * (1 + self._chance()) / 2
        wait = max(min(wait, LONGEST_WAIT), retry_after or 0.0)
        host = self._hosts[name]
        if pause_host:
            host.not_before = max(host.not_before, self._clock() + min(wait, LONGEST_WAIT))
        if tried >= self.tries or wait > LONGEST_WAIT:
            return False
        heapq.heappush(host.later, (self._clock() + wait, next(self._order), item))
        return True
