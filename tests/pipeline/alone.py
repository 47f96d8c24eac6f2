"""Run by `test_thousand`, in a network of its own: a server at a public-looking address, another at
127.0.0.1 that nobody may reach, and a thousand rows for the pipeline.

    unshare --map-root-user --net python -m tests.pipeline.alone VIDEOS STREAMS FOLDER
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import sys
from collections import Counter
from pathlib import Path

from media import Limits
from pipeline.build import build
from pipeline.settings import Settings
from schemas.video_list import VideoRow
from tests.pipeline.conftest import serving

PUBLIC = "11.22.33.44"
GOOD = ("long.mp4", "other.mkv", "short%20one.mp4")
BAD = {
    # kind of failure: how many rows, cause
    "404/a.mp4": (40, "not_found"),
    "410/a.mp4": (20, "gone"),
    "401/a.mp4": (10, "private"),
    "403/a.mp4": (40, "refused"),
    "429/a.mp4": (6, "rate_limited"),
    "500/a.mp4": (30, "server_error"),
    "cut/long.mp4": (30, "network"),
    "chunked-cut/long.mp4": (10, "network"),
    "reset/long.mp4": (20, "network"),
    "more/long.mp4": (20, "network"),
    "drip/a.mp4": (4, "slow"),
    "endless/a.mp4": (10, "too_large"),
    "loop/a.mp4": (20, "download_error"),
    "page/a.html": (20, "unsupported"),
    "to/127.0.0.1:{inner}/other.mkv": (20, "forbidden"),
    "to/169.254.169.254/latest/meta-data": (10, "forbidden"),
    "to/2130706433:{inner}/other.mkv": (10, "forbidden"),
}
PASSING = {"first/429/1": 10, "first/500/1": 30, "first/503/1": 10}
"""Failures that pass when tried again, and how many rows there are of each."""

ROWS = 1000
SETTINGS = Settings(
    teachers=(),
    validation_share=0.1,
    limits=Limits(max_bytes=2_000_000),
    downloads=12,
    per_host=12,
    host_rate=1000.0,
    tries=2,
    backoff_seconds=0.2,
    download_seconds=20.0,
)


def give_address(address: str) -> None:
    """Bring this network's loopback up, with a second address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        up = struct.pack("16sh14x", b"lo", 0x1 | 0x40)
        fcntl.ioctl(control, 0x8914, up)  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
        wanted = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(address))
        fcntl.ioctl(control, 0x8916, wanted)  # SIOCSIFADDR


def rows(url: str, inner: int) -> tuple[list[VideoRow], dict[str, str]]:
    """The rows, and what is to become of each."""
    paths: list[tuple[str, str]] = []
    for kind, (number, cause) in BAD.items():
        paths += [(f"/fail/{kind.format(inner=inner)}", cause)] * number
    for kind, number in PASSING.items():
        paths += [(f"/fail/{kind}/{GOOD[n % 3]}", "done") for n in range(number)]
    left = ROWS - len(paths)
    paths += [(f"/{GOOD[n % 3]}", "done") for n in range(left)]
    found = [VideoRow(f"v{n:04d}", f"{url}{path}?n={n}") for n, (path, _) in enumerate(paths)]
    return found, {row.video_id: fate for row, (_, fate) in zip(found, paths, strict=True)}


def main(videos: str, streams: str, folder: str) -> None:
    give_address(PUBLIC)
    with (
        serving(Path(videos), Path(streams), PUBLIC) as server,
        serving(Path(videos), Path(streams)) as inner,
    ):
        listed, fates = rows(server.url, inner.server_port)
        summary = build(listed, [], f"{folder}/data", SETTINGS, processes=2)
        found = {row.video_id: row.cause or row.outcome for row in summary.rows.values()}
        result = {
            "wrong": {
                name: (fate, found.get(name), summary.rows[name].message)
                for name, fate in fates.items()
                if found.get(name) != fate
            },
            "found": Counter(found.values()),
            "expected": Counter(fates.values()),
            "asked_of_inner": inner.requests,
            "asked": {
                kind: max(
                    len(times)
                    for path, times in server.asked.items()
                    if path.startswith(f"/fail/{kind}/")
                )
                for kind in ("404", "410", "401", "403", "500", "429")
            },
            "clips": summary.info.records("train") + summary.info.records("validation"),
        }
    Path(folder, "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
