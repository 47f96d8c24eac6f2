"""What a data set is made with."""

from __future__ import annotations

from dataclasses import dataclass, field

from media import Limits
from pipeline.gates import GATES
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
        pictures: "keyframes" or "exact", see `media.extract`.
        validation_share: share of the videos drawn for validation; 140,000 of 2,140,000 in the
            paper.
        first_seconds: only so much of each video, or of the section that its row names, is
            downloaded and read; None for all of it.
        min_seconds: videos with less sound than this are "too_short".
        drop: the quality gates to apply, of `pipeline.gates.GATES`.
        shard_bytes: shards are filled with clips up to this size.
        portion: videos that are read before their shards are written and the data set names them.
        limits: what a video may cost.
        downloads: downloads at a time, in each worker.
        per_host: downloads at a time from one host, all workers together.
        host_rate: downloads a second that may start at one host, all workers together.
        tries: how often a download is tried in a run, if its failure may pass soon.
        backoff_seconds: wait before the second try; doubled with each one, drawn by lot between a
            half and the whole of it.
        download_seconds: wall time that one try may take.
        ytdlp_options: see `pipeline.downloads.download.read_options`.
        media: a folder in which downloads are kept and looked for; None drops them after use.
        allow_local_network: whether downloads may reach addresses that aren't public.
    """

    teachers: tuple[TeacherSpec, ...]
    audio_codec: str = "flac"
    channels: str = "downmix"
    frames: bool = False
    pictures: str = "keyframes"
    validation_share: float = 0.07
    first_seconds: float | None = None
    min_seconds: float = 1.0
    drop: tuple[str, ...] = ()
    shard_bytes: int = 100_000_000
    portion: int = 10_000
    limits: Limits = field(default_factory=Limits)
    downloads: int = 8
    per_host: int = 4
    host_rate: float = 2.0
    tries: int = 4
    backoff_seconds: float = 10.0
    download_seconds: float = 1800.0
    ytdlp_options: dict = field(default_factory=dict)
    media: str | None = None
    allow_local_network: bool = False

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.teachers]
        for name in names:
            if names.count(name) > 1:
                raise SchemaError(f"two teachers are called {name!r}; give each a name of its own")
        for gate in self.drop:
            if gate not in GATES:
                raise SchemaError(f"no gate {gate!r}; there are {', '.join(GATES)}")
