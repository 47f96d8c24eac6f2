"""From what each way costs to the ratios that are reported."""

from __future__ import annotations

from benchmarks.throughput import ratios, start_seconds


def costs(**seconds: list[float]):
    return {
        name: {"wall_seconds": runs, "processor_seconds": [2 * run for run in runs]}
        for name, runs in seconds.items()
    }


def test_the_start_shows_once_and_not_in_a_pass_by_difference():
    measured = {
        1: costs(floor=[10.0, 12.0], exact=[13.0, 14.0]),
        4: costs(floor=[44.0, 40.0], exact=[46.0, 43.0]),
    }
    found = ratios(measured)
    assert found["exact / floor"] == {
        "wanted": "at most 1.15",
        "wall": {"once": 1.3, "repeated": 1.075, "by_difference": 1.0},
        "processor": {"once": 1.3, "repeated": 1.075, "by_difference": 1.0},
    }
    assert list(found) == ["exact / floor"]  # the others were not measured
    assert start_seconds(measured)["exact"] == {"wall_seconds": 3.0, "processor_seconds": 6.0}


def test_the_taught_pipeline_stands_beside_the_floor_and_the_teachers_together():
    measured = {1: costs(floor=[10.0], teachers_on_exact=[5.0], exact_taught=[18.0])}
    assert ratios(measured)["exact_taught / (floor + teachers)"]["wall"] == {"once": 1.2}
