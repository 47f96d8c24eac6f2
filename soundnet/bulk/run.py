"""`soundnet embed`, from names to files: only what is missing, and whatever fails named."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import media
from soundnet.bulk import addresses, records, sources, tables, workers
from soundnet.bulk.records import Identity, Made, Record
from soundnet.bulk.sources import NoSource, Source
from soundnet.pooling import Windows, pool
from trainer.folder import alone


class UsageError(ValueError):
    """What was asked for can't be meant; the message says what to ask for instead."""


@dataclass(frozen=True)
class Request:
    """What is to be embedded, how, and where to.

    Attributes:
        output: a folder, or a file whose ending is one of `tables.KINDS`.
        pooling: "none" or a kind of `soundnet.pooling`; over `windows`, or over the whole sound.
        format: of the files in a folder, one of `records.FORMATS`.
        overwrite: what is there already is made anew.
        allow_local_network: for addresses.
    """

    sounds: Sequence[Source | NoSource]
    output: Path
    weights: str
    layer: str = "pool5"
    pooling: str = "none"
    windows: Windows | None = None
    format: str = "npz"
    processes: int = 1
    overwrite: bool = False
    allow_local_network: bool = False


@dataclass(frozen=True)
class Done:
    """A sound was embedded."""

    source: str
    rows: int
    numbers: int
    seconds: float


@dataclass(frozen=True)
class Skipped:
    """A sound was embedded before."""

    source: str


@dataclass(frozen=True)
class Failure:
    """A sound could not be embedded.

    cause: one of `media.CAUSES`, or "address", "died" (the process), "no_source", "error".
    """

    source: str
    cause: str
    message: str


@dataclass(frozen=True)
class Task:
    """A sound to embed into a file.

    Attributes:
        path: its file; None for what an address names.
        identity: of that file, before it is read.
    """

    source: Source
    path: str | None
    identity: Identity
    target: Path


class Ear:
    """What embeds, one of them in each process.

    Raises:
        soundnet.WeightsError: no such weights.
        UsageError: the network has no such layer, or one whose steps the windows would miss.
    """

    def __init__(
        self,
        weights: str,
        layer: str,
        pooling: str,
        windows: Windows | None,
        format: str,
        allow_local_network: bool,
    ) -> None:
        from soundnet.model import load_model

        self.model = load_model(weights)
        if layer not in self.model.layers:
            raise UsageError(f"no layer {layer!r}; choose one of {', '.join(self.model.layers)}")
        self.pooling, self.windows = pooling, windows
        self.write, _ = records.FORMATS[format]
        self.allow_local_network = allow_local_network
        step = self.model.hop_seconds(layer)
        if windows:
            try:
                windows.check_fits(layer, step)
            except ValueError as error:
                raise UsageError(f"--window, --layer: {error}") from error
        hop = step if pooling == "none" else windows.hop_seconds if windows else None
        self.facts = Made(
            layer=layer,
            pooling=pooling,
            window_seconds=windows.seconds if windows else None,
            hop_seconds=hop,
            centred=bool(windows and windows.centred),
            hears_seconds=self.model.hears_seconds(layer),
            weights=self.model.name,
            weights_sha256=self.model.sha256,
        )

    def __call__(self, task: Task) -> Done | Failure:
        """Embed a sound and write it; raises OSError where that can't be written."""
        name = task.source.name
        try:
            record = self._record(task)
        except media.MediaError as error:
            return Failure(name, error.cause, error.message)
        except addresses.AddressError as error:
            return Failure(name, "address", str(error))
        except Exception as error:  # noqa: BLE001 (one sound must not end the run)
            return Failure(name, "error", f"{type(error).__name__}: {error}")
        self.write(task.target, record, self.facts)
        rows, numbers = record.embeddings.shape
        return Done(name, rows, numbers, record.duration)

    def _record(self, task: Task) -> Record:
        if task.path is None:
            file = sources.opened(task.source, self.allow_local_network)
        else:
            file = contextlib.nullcontext(task.path)
        with file as path:
            embedding = self.model.embed(path, layer=self.facts.layer)
        if self.pooling != "none":
            embedding = pool(embedding, self.pooling, self.windows)
        return Record(
            task.identity,
            embedding.duration,
            embedding.tiled,
            embedding.centre_half_samples,
            embedding.values,
        )


def run(request: Request) -> Generator[Done | Skipped | Failure, None, None]:
    """Embed what isn't yet, and say of each sound what came of it.

    Files are whole or not there, at any moment; a run that ends early is gone on with by asking for
    the same again.

    Raises:
        UsageError: two sounds would be kept in one file; the output holds other things; or the
            network doesn't fit what is asked.
        soundnet.WeightsError, tables.TableError, OSError: the message says what to do.
    """
    table = _table(request.output)
    folder = request.output if table is None else _beside(request.output, ".parts")
    format = request.format if table is None else "npz"
    wanted = [sound for sound in request.sounds if isinstance(sound, Source)]
    targets = _targets(wanted, folder, format, table is not None)
    processes = max(1, min(request.processes, len(wanted)))
    make = functools.partial(
        Ear,
        request.weights,
        request.layer,
        request.pooling,
        request.windows,
        format,
        request.allow_local_network,
    )
    busy = UsageError(
        f"another `soundnet embed` is writing to {folder}; wait for it, or choose another --output"
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(alone(folder, busy))
        pool_of = stack.enter_context(workers.Pool(make, processes))
        made = pool_of.facts
        kept = _kept(table, request, made)
        if table is not None and request.overwrite:
            _empty(folder)
        log = stack.enter_context(
            _Failures(failures_path(request.output), {sound.name for sound in request.sounds})
        )
        for sound in request.sounds:
            if isinstance(sound, NoSource):
                yield log.add(Failure(sound.name, "no_source", sound.message))
        skipped: list[Skipped] = []

        def tasks() -> Iterator[Task]:
            for sound in wanted:
                path, identity = _look(sound, stack)
                target = targets[sound]
                if (
                    sound.name != sources.STDIN
                    and not request.overwrite
                    and (
                        kept.get(sound.name) == identity
                        or records.is_done(target, identity, made, records.FORMATS[format][1])
                    )
                ):
                    skipped.append(Skipped(sound.name))
                    continue
                yield Task(sound, path, identity, target)

        for task, answer in pool_of.answers(tasks()):
            while skipped:
                yield skipped.pop()
            if isinstance(answer, workers.WorkerDied):
                answer = Failure(task.source.name, "died", str(answer))
            if isinstance(answer, Failure):
                log.add(answer)
            yield answer
        yield from skipped
        if table is not None:
            _assemble(table, request, made, [targets[sound] for sound in wanted], folder)


def failures_path(output: Path) -> Path:
    """Where what failed is kept: in a folder of outputs, beside a table."""
    if output.suffix.lower() in tables.KINDS:
        return _beside(output, ".failures.jsonl")
    return output / "failures.jsonl"


def _table(output: Path) -> tables.Table | None:
    kind = tables.KINDS.get(output.suffix.lower())
    return kind() if kind else None


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _targets(
    sounds: Sequence[Source], folder: Path, format: str, for_table: bool
) -> dict[Source, Path]:
    """The file that each sound is to be written to."""
    taken: dict[Path, str] = {}
    found = {}
    for sound in sounds:
        place = sound.place
        if for_table:  # a part, whatever it is called
            place = hashlib.sha256(os.fsencode(sound.name)).hexdigest()[:32]
        target = folder / f"{place}.{format}"
        if target in taken:
            raise UsageError(
                f"{taken[target]} and {sound.name} would both be written to {target}; name the "
                "folder that holds both, embed them into different folders, or write one table "
                "(--output X.h5 or X.parquet)"
            )
        taken[target] = sound.name
        found[sound] = target
    return found


def _empty(folder: Path) -> None:
    for part in folder.iterdir():
        part.unlink()


def _kept(table: tables.Table | None, request: Request, made: Made) -> dict[str, Identity]:
    """By name the sounds in a table that is there already, and stays."""
    if table is None or request.overwrite or not request.output.exists():
        return {}
    identities, before = table.facts(request.output)
    if differing := before.differs_from(made):
        raise UsageError(
            f"{request.output} was made otherwise ({', '.join(differing)}); choose another "
            "--output, or --overwrite it"
        )
    return {identity.source: identity for identity in identities}


def _look(sound: Source, stack: contextlib.ExitStack) -> tuple[str | None, Identity]:
    """The file to read a sound from, None for an address, and which sound it is."""
    if sound.is_address:
        return None, Identity(sound.name)
    if sound.name == sources.STDIN:
        return stack.enter_context(sources.standard_input()), Identity(sound.name)
    try:
        return sound.name, Identity.of(sound.name)
    except (OSError, ValueError):  # `media` says why, when it comes to it
        return sound.name, Identity(sound.name)


class _Failures:
    """A file with a row for each sound that failed, as JSON; there as long as one has.

    Rows of an earlier run stay, but for the sounds that this one is to embed.
    """

    def __init__(self, path: Path, asked: set[str]) -> None:
        before = path.read_text("utf-8").splitlines() if path.is_file() else []
        self._path = path
        self._count = 0
        with records.written_whole(path) as file:
            for line in before:
                if self._source(line) not in asked:
                    file.write(line.encode() + b"\n")
                    self._count += 1
        self._file = path.open("a", encoding="utf-8")

    @staticmethod
    def _source(line: str) -> str | None:
        try:
            return json.loads(line).get("source")
        except (ValueError, AttributeError):  # cut off
            return None

    def add(self, failure: Failure) -> Failure:
        self._file.write(json.dumps(asdict(failure)) + "\n")
        self._file.flush()
        self._count += 1
        return failure

    def __enter__(self) -> _Failures:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if not self._count:
            self._path.unlink()


def _assemble(
    table: tables.Table, request: Request, made: Made, parts: Sequence[Path], folder: Path
) -> None:
    """Put what is new into the table: those asked for in their order, then what an earlier run,
    ended too soon, has left."""
    new = [
        part for part in dict.fromkeys([*parts, *sorted(folder.glob("*.npz"))]) if part.is_file()
    ]
    usable, replaced = [], set()
    for part in new:
        with contextlib.suppress(ValueError, KeyError):
            identity, how = records.read_npz_facts(part)
            if not how.differs_from(made):
                usable.append(part)
                replaced.add(identity.source)
    if usable:

        def all_records() -> Iterator[Record]:
            if request.output.exists() and not request.overwrite:
                for record in table.read(request.output):
                    if record.identity.source not in replaced:
                        yield record
            for part in usable:
                yield records.read_npz(part)[0]

        table.write(request.output, all_records(), made)
    _empty(folder)
