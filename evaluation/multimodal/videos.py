"""What is heard in each labelled video, and what is seen: means over all its clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import media
import soundnet
from evaluation.clips import Clips, Place
from evaluation.errors import DatasetError
from evaluation.features import Features, Samples
from evaluation.multimodal.labels import Label, Labels
from evaluation.progress import bars
from schemas.clip import ClipRecord
from schemas.waveform import SAMPLE_RATE
from soundnet.model import TRAINING_CLIP

CLASSES = "classes"
"""What is seen, as all teachers' distributions, one after the other."""


@dataclass
class Video:
    """A labelled video.

    Attributes:
        first: where its first clip lies.
        heard: by layer, float64 (channels,), the mean over time, and over its clips.
        seen: float64 (values,), the mean over its label steps: `CLASSES`, and by name each teacher
            of embeddings.
        clips: so many have been added.
    """

    video_id: str
    label: Label
    first: Place
    heard: dict[str, np.ndarray] = field(default_factory=dict)
    seen: dict[str, np.ndarray] = field(default_factory=dict)
    clips: int = 0
    steps: int = 0

    def add(self, heard: dict[str, np.ndarray], seen: dict[str, np.ndarray], steps: int) -> None:
        """Take in a clip: the means over its time, and over so many label steps."""
        for means, new, before, weight in (
            (self.heard, heard, self.clips, 1),
            (self.seen, seen, self.steps, steps),
        ):
            for name, values in new.items():
                held = means.get(name, 0.0)
                means[name] = (held * before + values * weight) / (before + weight)
        self.clips += 1
        self.steps += steps


def layers_of(model: soundnet.TrainedSoundNet) -> tuple[str, str]:
    """The layers that the paper compares: the last hidden one, and what the heads say."""
    *_, hidden, heads = model.network.architecture.names
    return hidden, heads


def gather(
    clips: Clips, labels: Labels, model: soundnet.TrainedSoundNet, cache: Path
) -> list[Video]:
    """The labelled videos of a data set, by id; shows its progress on stderr.

    A clip shorter than 20 s is repeated up to that length, as the network learnt it.

    Raises:
        DatasetError: no video of the data set has a label, or the teachers said nothing.
    """
    if not clips.info.teachers:
        raise DatasetError(
            f"the records in {clips.folder} carry no teacher's word, so nothing is seen in them; "
            "make the data set with `python -m pipeline --teachers ...`"
        )
    seconds = max(clips.info.clip_seconds, TRAINING_CLIP / SAMPLE_RATE)
    features = Features(model, layers_of(model), cache, seconds)
    videos: dict[str, Video] = {}
    waiting: deque = deque()
    unlabelled = ""

    def sounds() -> Iterator[Samples]:
        nonlocal unlabelled
        for place, record in clips:
            label = labels.of(record.video_id, record.url)
            if label is None:
                unlabelled = record.video_id
                progress.advance(bar)
            else:
                waiting.append((place, record.video_id, label, *see(record)))
                yield Samples(record.pcm)

    with bars() as progress:
        bar = progress.add_task("clips", total=len(clips))
        for found in features.of(sounds(), lambda: progress.advance(bar)):
            place, video_id, label, seen, steps = waiting.popleft()
            if isinstance(found, media.MediaError):  # the samples are here; nothing to decode
                raise found
            video = videos.setdefault(video_id, Video(video_id, label, place))
            video.first = min(video.first, place)
            video.add({name: values.mean(axis=0) for name, values in found.items()}, seen, steps)
    if not videos:
        raise DatasetError(
            f"none of the videos in {clips.folder} (such as {unlabelled or 'none'}) has a label in "
            f"{labels.where} (such as for {labels.some()})"
        )
    return [videos[name] for name in sorted(videos)]


def see(record: ClipRecord) -> tuple[dict[str, np.ndarray], int]:
    """What the teachers saw in a clip, the mean over its label steps, and how many these are."""
    seen = {name: values.mean(axis=0, dtype=float) for name, values in record.embeddings.items()}
    if record.probs:
        means = [record.probs[name].mean(axis=0, dtype=float) for name in sorted(record.probs)]
        seen = {CLASSES: np.concatenate(means), **seen}
    return seen, len(record.frame_times)
