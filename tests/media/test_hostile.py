"""Files that mean harm: damaged headers, and little that claims or becomes a lot."""

from __future__ import annotations

import random
import resource
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from media.errors import MediaError
from media.extract import PICTURES, extract
from media.limits import Limits

LIMITS = Limits(
    max_seconds=120.0,
    max_pixels=4_000_000,
    max_memory_bytes=2**29,
    timeout_seconds=30.0,
    idle_seconds=10.0,
)


def outcome(path: Path, mode: str) -> str:
    """The cause, or "segments" where there are some, and they are whole."""
    count = 0
    try:
        for segment in extract(path, pictures=mode, limits=LIMITS):
            assert segment.index == count
            assert len(segment.pcm)
            assert len(segment.frames) == len(segment.frame_times) > 0
            assert all(frame.size for frame in segment.frames)
            count += 1
    except MediaError as error:  # whose cause is one of CAUSES, or it would not be made
        return error.cause
    assert count
    return "segments"


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mode=st.sampled_from(sorted(PICTURES)),
    container=st.sampled_from(["mp4", "mkv", "ts", "avi"]),
    damage=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=30),
    length=st.integers(1, 60_000),
)
def test_whatever_the_bytes_segments_or_a_named_cause(
    make, tmp_path, mode, container, damage, length
):
    content = bytearray(make(f"fuzz.{container}", seconds=1).read_bytes()[:length])
    for at, value in damage:
        if at < len(content):
            content[at] = value
    (tmp_path / "fuzz").write_bytes(content)
    outcome(tmp_path / "fuzz", mode)


def flip(content: bytearray, chance: random.Random, header: range) -> None:
    for _ in range(chance.randrange(1, 20)):
        content[chance.choice(header)] ^= 1 << chance.randrange(8)


def overwrite(content: bytearray, chance: random.Random, header: range) -> None:
    for _ in range(chance.randrange(1, 4)):
        at, size = chance.choice(header), chance.choice([1, 4, 16, 100])
        content[at : at + size] = chance.randbytes(size)


def cut(content: bytearray, chance: random.Random, header: range) -> None:
    del content[chance.choice(header) :]


def drop(content: bytearray, chance: random.Random, header: range) -> None:
    at = chance.choice(header)
    del content[at : at + chance.randrange(1, 200)]


def exaggerate(content: bytearray, chance: random.Random, header: range) -> None:
    """Sizes, counts, times and dimensions that are huge."""
    for _ in range(chance.randrange(1, 4)):
        at = chance.choice(header)
        number = chance.choice([0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x00FFFFFF, 0x0000FFFF])
        content[at : at + 4] = struct.pack(chance.choice("<>") + "I", number)


def damaged(source: bytes, chance: random.Random) -> bytes:
    """One kind of damage to the head of a file, or to the index of an MP4, which may lie behind."""
    content = bytearray(source)
    begin = max(0, content.find(b"moov")) if chance.random() < 0.7 else 0
    header = range(begin, min(len(content), begin + chance.choice([64, 1000, 8000])))
    chance.choice([flip, overwrite, cut, drop, exaggerate])(content, chance, header)
    return bytes(content) or b"\0"


VARIANTS = 520


def fuzz(videos: Path, folder: Path) -> None:
    """Put VARIANTS damaged files through extract in both ways, two at a time, and check."""
    others = sorted(videos.glob("*.m*"), key=lambda path: (path.stat().st_size, path.name))
    real = sorted((videos / "edge").iterdir()) + others[:32]

    def run(number: int) -> list[str]:
        source = real[number % len(real)].read_bytes()[:2_000_000]
        path = folder / str(number)
        path.write_bytes(damaged(source, random.Random(number)))
        outcomes = [outcome(path, mode) for mode in PICTURES]
        path.unlink()
        return outcomes

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, range(VARIANTS)))
    for mode, outcomes in zip(PICTURES, zip(*results, strict=True), strict=True):
        counts = Counter(outcomes)
        print(mode, counts)
        assert counts["segments"] > 100
        assert counts["unreadable"] > 20
    # What can't be read one way can't be read the other.
    assert sum(one == other for one, other in results) >= 0.97 * VARIANTS
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"most memory: {largest / 2**20:.0f} MiB")
    assert largest < LIMITS.max_memory_bytes + 2**28  # its program is no memory that it takes


@pytest.mark.slow
def test_damaged_headers_of_real_files(data_dir, tmp_path):
    """In a process of its own, whose children's memory is then that of ffmpeg alone."""
    program = (
        "import sys; from pathlib import Path; from tests.media.test_hostile import fuzz;"
        "fuzz(*map(Path, sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, data_dir / "videos", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def bomb(ffmpeg, tmp_path) -> Callable[..., Path]:
    """Make a file of these inputs and with these options."""

    def make(name: str, picture: tuple, *options: str, sound: str = "anullsrc=r=8000:d=2") -> Path:
        ffmpeg(*picture, "-f", "lavfi", "-i", sound, *options, tmp_path / name)
        return tmp_path / name

    return make


def huge_picture(bomb, tmp_path) -> Path:
    """144 million pixels in 20 KB."""
    Image.new("1", (12_000, 12_000)).save(tmp_path / "huge.png")
    return bomb("huge.mkv", ("-i", tmp_path / "huge.png"), "-c:v", "copy", "-c:a", "flac")


def picture_that_grows(bomb, tmp_path) -> Path:
    """As the one before, but the header of the file says that it is small."""
    content = huge_picture(bomb, tmp_path).read_bytes()
    small = content
    for size in (b"\xb0\x82", b"\xba\x82"):  # PixelWidth, PixelHeight
        small = small.replace(size + (12_000).to_bytes(2, "big"), size + b"\0\x40")
    assert small != content
    (tmp_path / "grows.mkv").write_bytes(small)
    return tmp_path / "grows.mkv"


def huge_gif(bomb, tmp_path) -> Path:
    """Pictures that claim 65,535 x 65,535 pixels and give 16 x 16."""
    small = bomb("small.mkv", ("-f", "lavfi", "-i", "color=s=16x16:d=2"), "-c:v", "gif")
    content = small.read_bytes()
    at = content.index(b"GIF89a") + 6
    small.write_bytes(content[:at] + b"\xff" * 4 + content[at + 4 :])
    return small


BLACK = ("-f", "lavfi", "-i", "color=black:s=16x16:r=1:d=1800")


def long_black(bomb, tmp_path) -> Path:
    """Half an hour of black and silence."""
    return bomb("long.mkv", BLACK, "-c:a", "flac", sound="anullsrc=r=8000:d=1800")


def untold_length(bomb, tmp_path) -> Path:
    """The same without a length in the header, as it is written to where one can't go back."""
    live = ("-c:a", "flac", "-live", "1")
    return bomb("live.mkv", BLACK, *live, sound="anullsrc=r=8000:d=1800")


SHORT = (("-f", "lavfi", "-i", "color=s=16x16:d=4"), "-c:v", "libx264")


def long_pictures(bomb, tmp_path) -> Path:
    """An MP4 whose pictures last 20 minutes each by its table of times, but not by its header."""
    path = bomb("lasts.mp4", *SHORT)
    content = bytearray(path.read_bytes())
    at = content.index(b"stts")
    content[at + 16 : at + 20] = b"\0\xff\xff\xff"
    path.write_bytes(content.replace(b"edts", b"free"))  # where the header's length is said again
    return path


def absurd_counts(bomb, tmp_path) -> Path:
    """Tables of 4 billion entries in a file of a few KB."""
    path = bomb("counts.mp4", *SHORT)
    content = bytearray(path.read_bytes())
    for name, offset in ((b"stts", 8), (b"stsz", 12), (b"stsc", 8), (b"ctts", 8)):
        if (at := content.find(name)) >= 0:
            content[at + offset : at + offset + 4] = b"\xff" * 4
    path.write_bytes(content)
    return path


def absurd_unit(bomb, tmp_path) -> Path:
    """A Matroska file whose unit of time is 4 s in place of 1 ms: 4 s become an hour."""
    path = bomb("unit.mkv", *SHORT)
    content = path.read_bytes()
    at = content.index(b"\x2a\xd7\xb1\x83")  # TimestampScale, of 3 bytes; what follows is text
    path.write_bytes(content[: at + 3] + b"\x84" + b"\xff" * 4 + content[at + 8 :])
    return path


def packed_index(bomb, tmp_path) -> Path:
    """A QuickTime index that is compressed: 700 KB that become 700 MB."""

    def box(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content) + 8) + name + content

    packer = zlib.compressobj()
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(700)) + packer.flush()
    index = box(b"dcom", b"zlib") + box(b"cmvd", struct.pack(">I", 700 << 20) + packed)
    content = box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(b"moov", box(b"cmov", index))
    (tmp_path / "packed.mov").write_bytes(content)
    return tmp_path / "packed.mov"


@pytest.mark.parametrize(
    ("make_bomb", "causes"),
    [
        (huge_picture, {"too_large"}),
        (picture_that_grows, {"too_large"}),
        (huge_gif, {"too_large", "bad_video"}),
        (long_black, {"too_long"}),
        (untold_length, {"too_long"}),
        (long_pictures, {"too_long", "too_large"}),
        (absurd_counts, {"unreadable", "bad_video", "no_video", "too_large", "segments"}),
        (absurd_unit, {"too_long"}),
        (packed_index, {"unreadable", "too_large"}),
    ],
)
def test_little_that_becomes_a_lot(bomb, tmp_path, make_bomb, causes):
    path = make_bomb(bomb, tmp_path)
    assert path.stat().st_size < 2_000_000
    for mode in PICTURES:
        assert outcome(path, mode) in causes
