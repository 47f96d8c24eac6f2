"""Quality gates: what is measured of a clip, and which clips are left out for it."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable

import numpy as np

from media import Segment
from schemas.ledger import ClipFacts
from schemas.waveform import PCM_PEAK, SAMPLE_RATE

GATES = ("silent", "static", "duplicate", "near_duplicate")
"""The gates that can be switched on; each is a cause of the ledger."""

SILENCE = -60.0
"""dB of full scale; a clip less loud is silent."""

STILL = 1.0
"""Mean difference (0..255) between two pictures below which they are one picture."""

NEAR_BITS = 10
"""Bits of 64 by which two perceptual hashes of the same may differ. Of 25 clips of real videos that
were encoded anew with half the size and bit rate 24 stayed within it in sound and pictures; the
sounds of different clips lay 16 bits apart or more, their pictures 22."""

_QUIETEST = -120.0
_BINS, _COLUMNS, _WINDOW = 64, 64, 1024


def measure(segment: Segment, number: int, likeness: bool) -> ClipFacts:
    """What is measured of one clip.

    Args:
        number: of the clip among those of its video.
        likeness: whether to compute perceptual hashes (7 ms).
    """
    samples = segment.pcm.astype(np.float32)
    power = float(np.mean(samples**2)) / PCM_PEAK**2 if len(samples) else 0.0
    return ClipFacts(
        number=number,
        start_seconds=segment.start_seconds,
        seconds=round(len(samples) / SAMPLE_RATE, 3),
        loudness=round(max(10 * math.log10(power), _QUIETEST), 1) if power else _QUIETEST,
        motion=_motion(segment),
        sound=hashlib.sha256(segment.pcm.tobytes()).hexdigest()[:16],
        likeness=":".join(_hashes(segment)) if likeness else "",
    )


def fault(facts: ClipFacts, drop: Iterable[str]) -> str:
    """The gate at which a clip by itself is turned away; "" if it passes."""
    if "silent" in drop and facts.loudness < SILENCE:
        return "silent"
    if "static" in drop and facts.motion is not None and facts.motion < STILL:
        return "static"
    return ""


class Twins:
    """Finds clips that repeat earlier ones. What it sees first stays.

    `duplicate`: the same samples. `near_duplicate`: the spectrograms' perceptual hashes (`phash` of
    ImageHash) lie within `NEAR_BITS` and so do those of at least one pair of pictures (of a copy
    that was encoded anew other key frames may have been taken), so that neither one picture under
    two sounds nor one song under two videos counts. Memory: 0.1 kB a clip, 1 kB for near
    duplicates.
    """

    def __init__(self, drop: Iterable[str]) -> None:
        self._exact = "duplicate" in drop
        self._near = "near_duplicate" in drop
        self._sounds: dict[str, str] = {}
        self._looks: dict[tuple[int, int], list[tuple[str, list[int]]]] = {}

    def see(self, video_id: str, facts: ClipFacts) -> tuple[str, str] | None:
        """The cause and the earlier clip's id if this one is to be left out; else it is kept in
        mind."""
        clip_id = f"{video_id}/{facts.number}"
        if self._exact and (twin := self._sounds.get(facts.sound)):
            return "duplicate", twin
        if self._near and facts.likeness:
            sound, *pictures = (int(text, 16) for text in facts.likeness.split(":"))
            # Of hashes within 7 bits one byte is the same; of those within 10 nearly always.
            keys = list(enumerate(sound.to_bytes(8, "big")))
            for key in keys:
                for twin, (other, *others) in self._looks.get(key, ()):
                    if _near(sound, other) and any(_near(a, b) for a in pictures for b in others):
                        return "near_duplicate", twin
            for key in keys:
                self._looks.setdefault(key, []).append((clip_id, [sound, *pictures]))
        self._sounds[facts.sound] = clip_id
        return None


def _near(one: int, other: int) -> bool:
    return (one ^ other).bit_count() <= NEAR_BITS


def _motion(segment: Segment) -> float | None:
    """Largest mean difference between two pictures that follow each other; None if there aren't
    two (imported clips have none)."""
    different = dict(zip(segment.frame_times, segment.frames, strict=False))
    if len(different) < 2:
        return None
    small = [frame[::4, ::4].astype(np.int16) for frame in different.values()]
    if len({frame.shape for frame in small}) > 1:
        return 255.0
    pairs = itertools.pairwise(small)
    return round(max(float(np.mean(np.abs(one - other))) for one, other in pairs), 2)


def _hashes(segment: Segment) -> list[str]:
    """Perceptual hashes (16 hexadecimal digits each): of the spectrogram, then of each picture."""
    import imagehash
    from PIL import Image

    pictures = [_spectrogram(segment.pcm), *segment.frames]
    return [str(imagehash.phash(Image.fromarray(picture))) for picture in pictures]


def _spectrogram(pcm: np.ndarray) -> np.ndarray:
    """The sound as a grey picture of 64 moments: high notes above, loudest white."""
    starts = np.linspace(0, max(0, len(pcm) - _WINDOW), _COLUMNS).astype(int)
    padded = np.pad(pcm, (0, max(0, _WINDOW - len(pcm)))).astype(np.float32)
    windows = np.stack([padded[at : at + _WINDOW] for at in starts]) * np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(windows)) ** 2
    edges = np.unique(np.geomspace(2, power.shape[1] - 1, _BINS).astype(int))
    bands = np.log10(np.add.reduceat(power, edges, axis=1).T[::-1] + 1.0)
    return (255 * bands / max(float(bands.max()), 1e-6)).astype(np.uint8)
