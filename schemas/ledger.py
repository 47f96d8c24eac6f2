"""The ledger: what became of every video, one JSON row each.

A data set has one `ledger-NNNNN.jsonl` a run that added to it; for a video that stands in several,
the last word counts.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas import SCHEMA_VERSION, SchemaError, check_version

STAGES = ("list", "download", "extract", "teach", "write")
"""The way of a video, in order; a row names the last stage that it reached."""

DONE, FAILED = "done", "failed"


@dataclass(frozen=True)
class Cause:
    """Why a video failed.

    Attributes:
        meaning: one sentence for people.
        permanent: trying again can't help; such a video is tried again only when asked by name.
    """

    meaning: str
    permanent: bool


CAUSES = {
    # list
    "bad_row": Cause("the row of the video list can't be used", True),
    # download
    "not_found": Cause("there is no such file, page or host", True),
    "gone": Cause("the video was removed", True),
    "private": Cause("the video is private or needs an account", True),
    "forbidden": Cause("the address is not allowed (local network, scheme)", True),
    "unsupported": Cause("yt-dlp doesn't know the site or finds no video there", True),
    "blocked": Cause("the site refused: rate limit, bot check or region", False),
    "network": Cause("the connection failed or broke off, or the server had an error", False),
    "download_error": Cause("the download failed in another way", False),
    # extract
    "unreadable": Cause("ffmpeg can't read the file as media", True),
    "no_audio": Cause("the file has no sound", True),
    "no_video": Cause("the file has no pictures", True),
    "bad_audio": Cause("the sound can't be decoded", True),
    "bad_video": Cause("the pictures can't be decoded", True),
    "too_short": Cause("too little sound and picture for one label step", True),
    "too_long": Cause("longer than the limit", True),
    "too_large": Cause("more bytes or pixels than the limit", True),
    "timeout": Cause("took longer than the limit", False),
    # teach
    "teacher_error": Cause("a teacher failed on the frames", False),
    # anywhere
    "internal": Cause("a fault of this program; please report it with the message", False),
}
"""The causes of failures by name."""


@dataclass(frozen=True)
class LedgerRow:
    """One video.

    Attributes:
        stage: the last of `STAGES` that was reached.
        outcome: "done" or "failed".
        cause: one of `CAUSES` when failed, else "".
        message: the tool's own words when failed.
        attempts: how often it was tried, over all runs.
        clips: number of clip records.
        media_seconds: seconds of sound in the records.
        bytes: of the media file.
        seconds: wall time spent on it.
        start, end: the section that the list asked for, in seconds of the video.
        extra: the list's other columns.
    """

    video_id: str
    url: str
    split: str
    stage: str
    outcome: str
    cause: str = ""
    message: str = ""
    attempts: int = 1
    clips: int = 0
    media_seconds: float = 0.0
    bytes: int = 0
    seconds: float = 0.0
    start: float | None = None
    end: float | None = None
    extra: dict[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.stage not in STAGES or self.outcome not in (DONE, FAILED):
            raise SchemaError(f"ledger row of {self.video_id}: {self.stage!r}, {self.outcome!r}")
        if (self.cause in CAUSES) != (self.outcome == FAILED):
            raise SchemaError(f"ledger row of {self.video_id}: {self.outcome} with {self.cause!r}")

    def to_json(self) -> str:
        row = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}
        return json.dumps(row)  # ASCII: sites put line separators into messages

    @classmethod
    def from_json(cls, line: str, where: str = "the ledger") -> LedgerRow:
        """Read one line; raises `SchemaError` when it is not a row of this version."""
        try:
            row = json.loads(line)
            check_version(row.pop("schema_version", None), where)
            return cls(**row)
        except (ValueError, TypeError, AttributeError) as error:
            if isinstance(error, SchemaError):
                raise
            raise SchemaError(
                f"{where} has a row that can't be read ({error}): {line[:200]}"
            ) from (error)


def latest(rows: Iterable[LedgerRow]) -> dict[str, LedgerRow]:
    """The last word on each video, by video id, in the order of first mention."""
    last: dict[str, LedgerRow] = {}
    for row in rows:
        last[row.video_id] = row
    return last
