"""What a data set is made with."""

from __future__ import annotations

from dataclasses import dataclass, field

from media import Limits
from schemas import SchemaError
from teacher import TeacherSpec


@dataclass(frozen=True)
class Settings:
    """What decides what becomes of a video.

    Attributes:
        teachers: the teachers to ask, in order.
        audio_codec: one of `schemas.audio.CODECS`.
        channels: "downmix" or "first" (as the authors did).
        frames: whether records carry the label steps' pictures.
        validation_share: share of the videos drawn for validation; 140,000 of 2,140,000 in the
            paper.
        min_seconds: videos with less sound than this are "too_short".
        shard_bytes: shards are filled with clips up to this size.
        limits: what a video may cost.
        download_seconds: wall time that a download may take.
        allow_local_network: whether downloads may reach addresses that aren't public.
    """

    teachers: tuple[TeacherSpec, ...]
    audio_codec: str = "flac"
    channels: str = "downmix"
    frames: bool = False
    validation_share: float = 0.07
    min_seconds: float = 1.0
    shard_bytes: int = 100_000_000
    limits: Limits = field(default_factory=Limits)
    download_seconds: float = 1800.0
    allow_local_network: bool = False

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.teachers]
        for name in names:
            if names.count(name) > 1:
                raise SchemaError(f"two teachers are called {name!r}; give each a name of its own")
