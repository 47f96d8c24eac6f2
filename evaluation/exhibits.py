"""Clips that a page lets you look at and hear, within a size that a browser still opens quickly."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from schemas import audio
from schemas.clip import ClipRecord
from schemas.waveform import SAMPLE_RATE

MEGABYTES = 40
"""What sounds and pictures may take of a page, unless asked for otherwise: about 400 clips."""


@dataclass
class Exhibits:
    """The clips of a page, each stored once, in the order in which they are added.

    Sound is MP3, a fifth of FLAC's size; decoders give it back on the same samples. When there is
    no more room, a clip is told of, and can't be heard or seen.

    Attributes:
        room: bytes of text that sounds and pictures may take.
        clips: what the page's script gets of each: `id`, `url`, `start` (of the clip in its video)
            and `seconds`, `sound` (its number, or null) and `pictures` ([seconds, number] each).
        sounds, pictures: MP3s and JPEGs in base64, by number.
    """

    room: int
    clips: list[dict] = field(default_factory=list)
    sounds: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)

    def add(self, record: ClipRecord, pictures: int | None = None) -> int:
        """Add a clip; returns its number.

        Args:
            pictures: at most so many of its pictures, the first; None for all.
        """
        clip: dict = {
            "id": record.clip_id,
            "url": record.url,
            "start": round(record.start_seconds, 3),
            "seconds": len(record.pcm) / SAMPLE_RATE,
            "sound": None,
            "pictures": [],
        }
        self.clips.append(clip)
        if self.room > 0:
            clip["sound"] = len(self.sounds)
            self.sounds.append(self._text(audio.encode(record.pcm, "mp3")))
            shown = zip(record.frame_times, record.frames, strict=False)
            for seconds, frame in list(shown)[:pictures]:
                clip["pictures"].append([round(seconds, 2), len(self.pictures)])
                self.pictures.append(self._text(frame))
        return len(self.clips) - 1

    def _text(self, data: bytes) -> str:
        text = base64.b64encode(data).decode()
        self.room -= len(text)
        return text
