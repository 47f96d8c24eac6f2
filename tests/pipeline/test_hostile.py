"""Files and addresses that mean harm, all in one run: it ends, and each has its cause."""

from __future__ import annotations

import multiprocessing
import random
import resource
import struct
import subprocess
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from media import Limits, process
from pipeline.build import build
from pipeline.settings import Settings
from schemas.ledger import LedgerRow
from schemas.video_list import VideoRow
from tests.pipeline.conftest import make_video
from tests.pipeline.test_build import records

LIMITS = Limits(
    max_bytes=20_000_000,
    max_seconds=120.0,
    max_pixels=4_000_000,
    max_memory_bytes=2**30,
    timeout_seconds=60.0,
    idle_seconds=20.0,
)
SETTINGS = Settings(teachers=(), limits=LIMITS, validation_share=0, drop=("silent",))
VARIANTS = 520


def ffmpeg(*arguments: object) -> None:
    command = [process.binary(), "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=120)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A file with its header damaged: bytes flipped, huge numbers, parts cut out or doubled."""
    found = bytearray(data)
    header = min(len(found), chance.choice([64, 512, 4096]))
    kind = chance.choice(["flip", "huge", "zero", "cut", "double", "short"])
    at = chance.randrange(header)
    if kind == "flip":
        for _ in range(chance.randrange(1, 20)):
            found[chance.randrange(header)] ^= 1 << chance.randrange(8)
    elif kind == "huge":
        found[at : at + 4] = struct.pack(">I", chance.choice([0xFFFFFFFF, 0x7FFFFFFF, 0x80000000]))
    elif kind == "zero":
        found[at : at + 16] = bytes(16)
    elif kind == "cut":
        del found[at : at + chance.randrange(1, 200)]
    elif kind == "double":
        found[at:at] = found[at : at + chance.randrange(1, 200)]
    else:
        del found[chance.randrange(1, len(found)) :]
    return bytes(found)


@pytest.mark.slow
def test_five_hundred_damaged_headers_of_real_files(data_dir, tmp_path):
    """No crash of the run, no fault of ours, no more memory than admitted."""
    chance = random.Random(0)
    real = sorted((data_dir / "videos" / "edge").iterdir())
    real += sorted((data_dir / "videos").glob("*.*"), key=lambda path: path.stat().st_size)[:30]
    real = [path for path in real if path.suffix not in (".csv", ".md") and path.stat().st_size]
    folder = tmp_path / "videos"
    folder.mkdir()
    rows = []
    for number in range(VARIANTS):
        source = real[number % len(real)]
        path = folder / f"{number:03d}{source.suffix}"
        path.write_bytes(damaged(source.read_bytes()[:2_000_000], chance))
        rows.append(VideoRow(f"v{number}", str(path)))
    # By a process of its own, for what other tests' processes took counts as the children's too.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        run, largest = alone.submit(_build_and_weigh, rows, str(tmp_path / "data")).result()
    causes = Counter(row.cause or row.outcome for row in run.values())
    assert causes.total() == VARIANTS
    assert "internal" not in causes
    assert causes["unreadable"] > 20
    assert causes["done"] > 100
    assert len(records(tmp_path / "data")) == sum(row.clips for row in run.values())
    assert largest < LIMITS.max_memory_bytes * 1.5


def _build_and_weigh(rows: list[VideoRow], output: str) -> tuple[dict[str, LedgerRow], int]:
    """Build a data set; its ledger, and the most bytes that one of the run's processes held."""
    summary = build(rows, [], output, SETTINGS, processes=2)
    return summary.rows, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


@pytest.mark.slow
def test_whatever_a_file_or_an_address_tries_it_gets_a_cause(server, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    secret = make_video(folder / "secret.mp4", 6)
    (folder / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:6,\nfile://{secret}\n#EXT-X-ENDLIST\n")
    (folder / "concat.mp4").write_text(f"ffconcat version 1.0\nfile '{secret}'\n")
    (folder / "dash.mp4").write_text(f'<?xml version="1.0"?><MPD><BaseURL>{secret}</BaseURL></MPD>')
    # Small files that would become large: pictures of 100 million pixels, an hour of black.
    black = "color=black:size={}:rate=1:duration={}"
    for name, size, seconds, codecs in (
        ("bomb.avi", "10000x10000", 2, ("-c:v", "png")),
        ("hour.mkv", "64x64", 3600, ("-c:a", "libmp3lame")),
    ):
        inputs = ("-i", black.format(size, seconds), "-f", "lavfi", "-i", "anullsrc=r=8000")
        ffmpeg("-f", "lavfi", *inputs, "-shortest", *codecs, folder / name)
    # The same without a length in its header.
    slow = ("-t", "400", "-r", "25", "-c:v", "mpeg2video", "-c:a", "mp2", "-f", "mpegts")
    ffmpeg("-i", folder / "hour.mkv", *slow, folder / "hidden.ts")
    good = []
    for name in ("; touch pwned #.mp4", "$(touch pwned).mp4", "`touch pwned`.mp4", "-i x -y.mp4",
                 "pipe:0.mp4", "a|b&c.mp4", "concat:a.mp4", "%d.mp4", "'\".mp4"):  # fmt: skip
        (folder / name).write_bytes(secret.read_bytes())
        good.append(VideoRow(name, str(folder / name)))
    local = [
        *(f"{server.url}/other.mkv", "http://localhost/a.mp4", "http://169.254.169.254/latest"),
        *("file:///etc/passwd", "http://[::1]/a.mp4", "http://10.0.0.1/a.mp4"),
    ]
    bad = {
        "list.m3u8": "unreadable",
        "concat.mp4": "unreadable",
        "dash.mp4": "unreadable",
        "bomb.avi": "too_large",
        "hour.mkv": "too_long",
        "hidden.ts": "too_long",
    }
    rows = [*good, *(VideoRow(name, str(folder / name)) for name in bad)]
    rows += [VideoRow(url, url) for url in local]
    summary = build(rows, [], str(tmp_path / "data"), SETTINGS, processes=2)
    outcomes = {row.video_id: row.cause or row.outcome for row in summary.rows.values()}
    assert {name: outcomes[name] for name in bad} == bad
    assert {outcomes[row.video_id] for row in good} == {"done"}
    assert {outcomes[url] for url in local} == {"forbidden"}
    assert server.requests == []
    assert not list(Path().glob("pwned*"))
    assert not list(tmp_path.rglob("pwned*"))
