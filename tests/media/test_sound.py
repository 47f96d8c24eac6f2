"""Where samples lie: gaps, overlaps and jitter of time stamps."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from media.sound import TOLERANCE, Sound, read_packets

PACKET = 512


def put(sound: Sound, stamps: list[int]) -> None:
    """Packets of the values 1, 2, 3, ... at these stamps."""
    for value, stamp in enumerate(stamps, 1):
        sound.add(stamp, np.full(PACKET, value, np.int16))
    sound.finish()


def test_what_is_unbroken_stays_unbroken():
    sound = Sound()
    put(sound, [number * PACKET for number in range(100)])
    np.testing.assert_array_equal(
        sound.window(0, sound.position), np.repeat(np.arange(1, 101, dtype=np.int16), PACKET)
    )
    assert sound.there(100, 1000) == [(100, 1000)]


def test_silence_stands_before_sound_that_starts_late():
    sound = Sound()
    put(sound, [10_000 + number * PACKET for number in range(20)])
    assert sound.there(0, 50_000) == [(10_000, 10_000 + 20 * PACKET)]
    assert not sound.window(0, 10_000).any()


def test_a_gap_is_a_gap_where_it_is():
    sound = Sound()
    stamps = [number * PACKET + (4000 if number >= 30 else 0) for number in range(60)]
    put(sound, stamps)
    assert sound.there(0, 10**6) == [
        (0, 30 * PACKET),
        (30 * PACKET + 4000, 60 * PACKET + 4000),
    ]


def test_of_an_overlap_what_came_first_is_kept():
    sound = Sound()
    put(sound, [number * PACKET - (1000 if number >= 30 else 0) for number in range(60)])
    assert sound.position == 60 * PACKET - 1000
    window = sound.window(0, sound.position)
    assert window[30 * PACKET - 1] == 30
    assert window[30 * PACKET] == 32  # 31 lies wholly before, and 32 for the most part
    assert len(sound.there(0, 10**6)) == 1


@given(st.lists(st.integers(-470, 470), min_size=50, max_size=50))
def test_jitter_that_does_not_last_moves_nothing(jitter):
    """Stamps of real files jump by a packet and back while the sound goes on unbroken."""
    jitter = [value if number % 5 else 0 for number, value in enumerate(jitter)]
    sound = Sound()
    put(sound, [number * PACKET + value for number, value in enumerate(jitter)])
    # At the very end nothing comes that could call a stamp wrong.
    assert sound.there(0, 40 * PACKET) == [(0, 40 * PACKET)]
    np.testing.assert_array_equal(
        sound.window(0, 40 * PACKET), np.repeat(np.arange(1, 41, dtype=np.int16), PACKET)
    )


@given(st.lists(st.tuples(st.integers(0, 100_000), st.integers(1, 3000)), max_size=40))
def test_whatever_the_stamps_sound_only_goes_on(packets):
    sound, end = Sound(), 0
    for stamp, length in packets:
        sound.add(stamp, np.ones(length, np.int16))
        assert sound.position >= end
        end = sound.position
    sound.finish()
    spans = sound.there(0, 10**6)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    assert sum(high - low for low, high in spans) == sound.window(0, sound.position).sum()
    assert sum(high - low for low, high in spans) <= sum(length for _, length in packets)


@given(
    st.lists(st.tuples(st.integers(-900, 900), st.integers(1, 600)), min_size=1, max_size=80),
    st.sampled_from([1, 7, 300]),
)
def test_a_shift_is_what_looking_through_all_that_waits_gives(steps, scale):
    """The extremes of the stamps are kept as packets come and go, not looked for."""
    sound, stamps, at = Sound(), [], 0
    place = sound._place

    def checked() -> None:
        waiting, count, differences = len(sound._waiting), sound.position, []
        for stamp, length in stamps[-waiting:]:
            differences.append(stamp - count)
            count += length
        shift = sound._shift()
        if not sound._runs:
            assert shift == differences[0]
        elif min(differences) > TOLERANCE:
            assert shift == min(differences)
        elif max(differences) < -TOLERANCE:
            assert shift == max(differences)
        else:
            assert shift == 0
        place()

    sound._place = checked
    for off, length in steps:
        stamps.append((at + off * scale, length))
        sound.add(at + off * scale, np.ones(length, np.int16))
        at += length
    sound.finish()


@given(st.integers(0, 60 * PACKET))
def test_what_is_forgotten_changes_nothing_behind(before):
    stamps = [number * PACKET + (4000 if number >= 30 else 0) for number in range(60)]
    sound, lean = Sound(), Sound()
    put(sound, stamps)
    put(lean, stamps)
    lean.forget(before)
    np.testing.assert_array_equal(
        lean.window(before, sound.position), sound.window(before, sound.position)
    )
    assert lean.there(before, 10**6) == sound.there(before, 10**6)


def test_small_drift_is_left_alone():
    sound = Sound()
    put(sound, [number * PACKET + TOLERANCE * number // 100 for number in range(100)])
    assert sound.position == 100 * PACKET


def test_packets_are_read_however_they_are_cut():
    """FLV: a header, then tags; the upper byte of a time comes last."""
    samples = np.arange(-5, 5, dtype="<i2")
    time = (3 << 24) + 7
    tag = (
        bytes([8])
        + (1 + samples.nbytes).to_bytes(3, "big")
        + (time & 0xFFFFFF).to_bytes(3, "big")
        + bytes([time >> 24, 0, 0, 0, 0x3A])
        + samples.tobytes()
    )
    script = bytes([18, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]) + b"none"
    stream = b"FLV\1\4\0\0\0\t" + bytes(4) + script + bytes(4) + tag + bytes(4) + tag
    for size in (1, 7, len(stream)):
        buffer, found = bytearray(), []
        for at in range(0, len(stream), size):
            buffer += stream[at : at + size]
            found += read_packets(buffer)
        assert [milliseconds for milliseconds, _ in found] == [time, time]
        np.testing.assert_array_equal(found[0][1], samples)
