"""The two Beam graphs of a build, each from top to bottom.

`read_videos` turns the videos that are to do into clip records, one file each, and notes what
became of every video. `pack` puts the records into shards. Between them stands only what is in the
output folder, so a run that was killed goes on from there, and what is a shard doesn't depend on
how often or where the videos were read.
"""

from __future__ import annotations

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference

from pipeline import steps
from pipeline.settings import Settings
from pipeline.store import PLAN, QUEUE, Store


def read_videos(pipeline: beam.Pipeline, settings: Settings, store: Store) -> None:
    """Videos in, clip records out: read, ask each teacher, write."""
    clips = (
        pipeline
        | "ListLanes" >> beam.io.ReadFromText(store.work(QUEUE))
        | "SpreadLanes" >> beam.Reshuffle()
        | "ReadLanes" >> beam.ParDo(steps.ReadLane(settings, store))
    )
    for spec in settings.teachers:
        clips = (
            clips
            | f"Ask_{spec.name}" >> RunInference(steps.TeacherHandler(spec))
            | f"Note_{spec.name}" >> beam.Map(steps.note_answer, spec.name)
        )
    _ = clips | "WriteClips" >> beam.ParDo(steps.WriteClip(settings, store))


def pack(pipeline: beam.Pipeline, store: Store) -> None:
    """Clip records in, shards and the run's ledger out."""
    _ = (
        pipeline
        | "ListShards" >> beam.io.ReadFromText(store.work(PLAN))
        | "SpreadShards" >> beam.Reshuffle()
        | "WriteShards" >> beam.ParDo(steps.WriteShard(store))
        | "OneLedger" >> beam.combiners.ToList()
        | "WriteLedger" >> beam.Map(steps.write_ledger, store)
    )
