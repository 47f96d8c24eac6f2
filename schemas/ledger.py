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
    """Why a video failed, or why a clip of it was left out.

    Attributes:
        meaning: one sentence for people.
        permanent: trying again can't help; such a video is tried again only when asked by name.
        soon: it may help to wait a little, so the run itself tries again, with longer and longer
            waits.
    """

    meaning: str
    permanent: bool
    soon: bool = False


CAUSES = {
    # list
    "bad_row": Cause("the row of the video list can't be used", True),
    # download
    "not_found": Cause("there is no such file or page", True),
    "no_such_host": Cause("there is no host of that name", True),
    "gone": Cause("the video was removed", True),
    "private": Cause("the video is private or needs an account", True),
    "forbidden": Cause("the address is not allowed (local network, scheme)", True),
    "unsupported": Cause("yt-dlp doesn't know the site or finds no video there", True),
    "region": Cause("the site doesn't show the video in this country", False),
    "refused": Cause("the site refuses the request (HTTP 403)", False),
    "rate_limited": Cause("the site wants fewer requests (HTTP 429)", False, soon=True),
    "bot_check": Cause("the site asks for proof that a person is watching", False, soon=True),
    "server_error": Cause("the site has an error of its own (HTTP 5xx)", False, soon=True),
    "network": Cause("the connection failed or broke off", False, soon=True),
    "slow": Cause("the download took longer than the limit", False, soon=True),
    "download_error": Cause("the download failed in another way", False),
    # extract
    "unreadable": Cause("ffmpeg can't read the file as media", True),
    "no_audio": Cause("the file has no sound", True),
    "no_video": Cause("the file has no pictures", True),
    "bad_audio": Cause("the sound can't be decoded", True),
    "bad_video": Cause("the pictures can't be decoded", True),
    "too_long": Cause("longer than the limit", True),
    "too_large": Cause("more bytes or pixels than the limit", True),
    "timeout": Cause("ffmpeg took longer than the limit", False),
    # gates
    "too_short": Cause("too little sound and picture for one label step", True),
    "silent": Cause("nothing but silence to hear", True),
    "static": Cause("one picture that never changes", True),
    "duplicate": Cause("the very sound of another clip", True),
    "near_duplicate": Cause("looks and sounds like another clip", True),
    # teach
    "teacher_error": Cause("a teacher failed on the frames", False),
    "bad_labels": Cause("its imported labels are no probabilities", True),
    # anywhere
    "killed": Cause(
        "what was at work on it was killed, perhaps for want of memory", False, soon=True
    ),
    "internal": Cause("a fault of this program; please report it with the message", False),
}
"""The causes of failures by name."""


@dataclass(frozen=True)
class ClipFacts:
    """What was measured of one clip.

    Attributes:
        number: of the clip within its video; a clip is `<video_id>/<number>`.
        start_seconds: where it starts in the video.
        seconds: of sound.
        loudness: root mean square in dB of full scale; -120 for digital silence.
        motion: largest mean difference (0..255) between the pictures of two label steps; None where
            there is one picture only.
        sound: first 16 hexadecimal digits of the SHA-256 of its samples.
        likeness: perceptual hashes for finding near duplicates, hexadecimal; "" where not asked
            for.
    """

    number: int
    start_seconds: float
    seconds: float
    loudness: float
    motion: float | None
    sound: str
    likeness: str = ""


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
        seconds: wall time spent on it, by stage ("download", "extract"); waiting for a turn or
            between two tries does not count.
        start, end: the section that the list asked for, in seconds of the video.
        dropped: clips that a quality gate left out, by cause.
        facts: what was measured of each clip record.
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
    seconds: dict[str, float] = field(default_factory=dict)
    start: float | None = None
    end: float | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    facts: tuple[ClipFacts, ...] = ()
    extra: dict[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.stage not in STAGES or self.outcome not in (DONE, FAILED):
            raise SchemaError(f"ledger row of {self.video_id}: {self.stage!r}, {self.outcome!r}")
        if (self.cause in CAUSES) != (
            self.outcome == FAILED
        ) or self.dropped.keys() - CAUSES.keys():
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
            facts = tuple(ClipFacts(**fact) for fact in row.pop("facts", ()))
            return cls(**row, facts=facts)
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
