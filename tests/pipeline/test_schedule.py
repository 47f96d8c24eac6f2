"""Manners towards hosts, on a clock that the tests set."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.schedule import LONGEST_WAIT, Schedule


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def schedule(items, clock, **changes) -> Schedule:
    options = {"per_host": 2, "gap_seconds": 0.0, "tries": 3, "backoff_seconds": 10.0}
    return Schedule(items, **{**options, **changes}, clock=clock, chance=lambda: 1.0)


def test_at_most_so_many_of_one_host_at_a_time():
    line = schedule([("a", 1), ("a", 2), ("a", 3), ("b", 4)], Clock())
    assert [line.take() for _ in range(3)] == [("a", 1), ("b", 4), ("a", 2)]
    assert line.take() == math.inf
    line.free("a")
    assert line.take() == ("a", 3)
    assert line.waiting == 0


def test_starts_at_one_host_lie_apart():
    clock = Clock()
    line = schedule([("a", 1), ("a", 2), ("b", 3)], clock, gap_seconds=5.0)
    assert [line.take(), line.take()] == [("a", 1), ("b", 3)]
    assert line.take() == 5.0
    clock.now += 4
    assert line.take() == 1.0
    clock.now += 1
    assert line.take() == ("a", 2)


def test_paths_need_no_manners():
    line = schedule([("", n) for n in range(9)], Clock(), gap_seconds=5.0)
    assert [line.take() for _ in range(9)] == [("", n) for n in range(9)]


def test_waits_double_and_end_with_the_tries():
    clock = Clock()
    line = schedule([("a", "video")], clock)
    for tried, wait in [(1, 10.0), (2, 20.0)]:
        assert line.take() == ("a", "video")
        assert line.again("a", "video", tried, None, pause_host=False)
        line.free("a")
        assert line.take() == wait
        clock.now += wait
    assert line.take() == ("a", "video")
    assert not line.again("a", "video", 3, None, pause_host=False)


def test_a_host_that_is_asked_too_much_has_a_rest():
    clock = Clock()
    line = schedule([("a", 1), ("a", 2), ("b", 3)], clock)
    line.take()
    line.again("a", 1, 1, 60.0, pause_host=True)
    line.free("a")
    assert line.take() == ("b", 3)
    assert line.take() == 60.0
    clock.now += 60
    # What was tried comes before what is fresh.
    assert [line.take(), line.take()] == [("a", 1), ("a", 2)]


def test_who_wants_too_long_a_wait_is_not_waited_for():
    line = schedule([("a", 1)], Clock())
    line.take()
    assert not line.again("a", 1, 1, LONGEST_WAIT + 1, pause_host=True)


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_the_wait_is_drawn_between_half_and_all_of_it(chance):
    line = Schedule(
        [("a", 1)],
        per_host=1,
        gap_seconds=0,
        tries=2,
        backoff_seconds=8.0,
        clock=Clock(),
        chance=lambda: chance,
    )
    line.take()
    line.again("a", 1, 1, None, pause_host=False)
    line.free("a")
    assert line.take() == pytest.approx(4 * (1 + chance))


@given(
    st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=1, max_size=30),
    st.lists(st.sampled_from(["good", "again", "again and rest"]), max_size=60),
    st.integers(1, 3),
    st.floats(0, 20),
)
def test_whatever_happens_every_item_comes_and_no_limit_is_broken(hosts, fates, per_host, gap):
    clock = Clock()
    items = [(host, number) for number, host in enumerate(hosts)]
    line = schedule(items, clock, per_host=per_host, gap_seconds=gap, tries=3)
    fates, running, tried, settled = iter(fates), [], {}, set()
    starts: dict[str, float] = {}
    while len(settled) < len(items):
        taken = line.take()
        if isinstance(taken, tuple):
            host, number = taken
            running.append(taken)
            tried[number] = tried.get(number, 0) + 1
            assert tried[number] <= 3
            assert not host or sum(other == host for other, _ in running) <= per_host
            if host:
                assert clock.now >= starts.get(host, 0) + gap - 1e-6
                starts[host] = clock.now
        elif running and (taken == math.inf or len(running) > 3):
            host, number = running.pop(0)
            fate = next(fates, "good")
            rest = fate == "again and rest"
            if fate == "good" or not line.again(host, number, tried[number], None, rest):
                settled.add(number)
            line.free(host)
        else:
            assert 0 < taken < math.inf
            clock.now += taken
    assert line.waiting == 0
