"""The files of a list, decoded once into one file of 16-bit samples, from which pieces are read.

Decoding is ffmpeg's (`media`): any file that it reads, any rate, any number of channels. A file
that can't be decoded stays out, with ffmpeg's own words; it never becomes silence.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import media
from schemas import SchemaError
from schemas.waveform import PCM_TO_WAVEFORM, SAMPLE_RATE, pcm_to_waveform
from trainer.network import tile_to
from trainer.supervised.listing import LabelledSound

SAMPLES_FILE, INDEX_FILE = "sounds.pcm", "sounds.json"

AT_ONCE = 32
"""Files that may wait, decoded, for those before them."""


@dataclass(frozen=True)
class Sounds:
    """Sounds of a list, by their places in it.

    Attributes:
        pcm: int16, all samples one after the other, read from the disk as they are asked for.
        ends: int64, where each sound ends; one that can't be read has no samples.
        unreadable: by place, why.
    """

    pcm: np.ndarray
    ends: np.ndarray
    unreadable: dict[int, str]

    def length(self, place: int) -> int:
        """Samples of a sound."""
        return int(self.ends[place] - (self.ends[place - 1] if place else 0))

    def piece(self, place: int, start: int, samples: int) -> np.ndarray:
        """A piece of a sound as the networks hear it: float32 (samples,), -256..256.

        A sound that is shorter is repeated (the rule "tiled").

        Raises:
            ValueError: the sound can't be read.
        """
        if place in self.unreadable:
            raise ValueError(f"sound {place} can't be read: {self.unreadable[place]}")
        end = int(self.ends[place])
        first = end - self.length(place) + start
        return tile_to(pcm_to_waveform(self.pcm[first : min(first + samples, end)]), samples)

    def pieces(self, place: int, samples: int) -> list[np.ndarray]:
        """A whole sound in pieces: one after the other, the last ends where the sound does."""
        last = max(self.length(place) - samples, 0)
        starts = [*range(0, last, samples), last]
        return [self.piece(place, start, samples) for start in starts]


def decode(
    sounds: Sequence[LabelledSound],
    folder: Path,
    channels: str,
    advance: Callable[[], None] = lambda: None,
) -> Sounds:
    """Decode a list's files into a folder, or read what an earlier call left there.

    Args:
        channels: see `media.load_waveform`.
        advance: called after each file.

    Raises:
        SchemaError: the folder holds the sounds of another list, or none of the files can be read.
        OSError: no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / INDEX_FILE
    names = [sound.name for sound in sounds]
    if not index.exists():
        found = _write(sounds, folder / SAMPLES_FILE, channels, advance)
        about = {"sample_rate": SAMPLE_RATE, "channels": channels, "files": found}
        part = index.with_suffix(".part")
        part.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", "utf-8")
        os.replace(part, index)
    try:
        about = json.loads(index.read_text("utf-8"))
        files = about["files"]
        ends = np.cumsum([file["samples"] for file in files], dtype=np.int64)
        if [file["name"] for file in files] != names or about["channels"] != channels:
            raise SchemaError(
                f"{folder} holds the sounds of another list; go on with that one, or choose "
                "another --model-dir"
            )
        whole = (folder / SAMPLES_FILE).stat().st_size == 2 * ends[-1]
    except (KeyError, TypeError, ValueError, OSError) as error:
        if isinstance(error, SchemaError):
            raise
        raise SchemaError(f"{folder} is damaged ({error}); remove it to decode anew") from error
    if not whole:
        raise SchemaError(f"{folder / SAMPLES_FILE} is damaged; remove {folder} to decode anew")
    unreadable = {i: file["error"] for i, file in enumerate(files) if "error" in file}
    if len(unreadable) == len(files):
        raise SchemaError(
            f"none of the {len(files)} sounds can be read; the first: {names[0]}: {unreadable[0]}. "
            "Does --audio name the folder that the list's paths start from?"
        )
    return Sounds(np.memmap(folder / SAMPLES_FILE, "<i2", "r"), ends, unreadable)


def _write(
    sounds: Sequence[LabelledSound], file: Path, channels: str, advance: Callable[[], None]
) -> list[dict]:
    def read(sound: LabelledSound) -> np.ndarray | media.MediaError:
        try:
            waveform = media.load_waveform(sound.path, channels=channels)
        except media.MediaError as error:
            return error
        return (waveform / np.float32(PCM_TO_WAVEFORM)).astype("<i2")  # exact: it was 16-bit

    found: list[dict] = []
    part = file.with_suffix(".part")
    with part.open("wb") as out, ThreadPoolExecutor(os.cpu_count()) as threads:
        for sound, pcm in zip(sounds, _ahead(threads, read, sounds), strict=True):
            if isinstance(pcm, media.MediaError):
                found.append({"name": sound.name, "samples": 0, "error": str(pcm)})
            else:
                found.append({"name": sound.name, "samples": len(pcm)})
                out.write(pcm.tobytes())
            advance()
    os.replace(part, file)
    return found


def _ahead(
    threads: ThreadPoolExecutor,
    read: Callable[[LabelledSound], np.ndarray | media.MediaError],
    sounds: Sequence[LabelledSound],
) -> Iterator[np.ndarray | media.MediaError]:
    for at in range(0, len(sounds), AT_ONCE):
        yield from threads.map(read, sounds[at : at + AT_ONCE])
