"""The training with labels, from top to bottom: `train(config)`.

Every part of the list that is held out is judged by a network of its own, trained on the rest. The
networks are those of `trainer.network.CLASSIFIERS`, which give one output for 5 s of sound.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from schemas import SchemaError
from schemas.waveform import SAMPLE_RATE
from trainer import claim, export
from trainer.checkpoints import Checkpoints
from trainer.errors import TrainingError
from trainer.layers import Adam
from trainer.load import load
from trainer.network import CLASSIFIERS, SoundNet
from trainer.progress import Interval, RunLog, write_whole
from trainer.supervised import judgement, listing
from trainer.supervised.config import LabelConfig
from trainer.supervised.judgement import Answer
from trainer.supervised.listing import LabelledSound, Part
from trainer.supervised.sounds import INDEX_FILE, Sounds, decode

LIST_FILE, SUMMARY_FILE = "list.json", "summary.json"
MODEL_FILE, ANSWERS_FILE, SOUNDS = "model.keras", "answers.json", "sounds"

HEAD = "labels"
"""The head's name; its classes are the list's labels, sorted."""

JUDGED_AT_ONCE = 32
"""Pieces of held-out sounds that go through the network together."""


@dataclass(frozen=True)
class LabelResult:
    """What a run came to; `summary.json` holds the same.

    Attributes:
        models: by the fold that was held out ("" where there are no folds) the `.keras` file.
        accuracy: percent of the held-out sounds that were named rightly, those that can't be read
            counted as wrong; None where nothing was held out.
        by_fold: the same for each fold.
        by_class: the same for each class; None for one of which nothing was held out.
        confusion: how many held-out sounds of a class (row) were taken for each class (column); in
            the last column those that can't be read. Empty where nothing was held out.
        unreadable: by file, why.
    """

    task: str
    classes: list[str]
    sounds: int
    models: dict[str, str]
    accuracy: float | None
    by_fold: dict[str, float]
    by_class: dict[str, float | None]
    confusion: list[list[int]]
    unreadable: dict[str, str]
    seconds: float


def train(config: LabelConfig) -> LabelResult:
    """Train with labels, judge what was held out, or go on with a run that was stopped.

    Writes into `config.model_dir`: `config.json`, `list.json`, `sounds/`; for each part (in
    `fold-NAME/`, or in the folder itself) `checkpoints/`, `metrics.jsonl`, `model.keras`; at the
    end `answers.csv`, `confusion.csv`, `summary.json`.

    Raises:
        SchemaError: the list, the sounds or the weights can't be used for this run.
        TrainingError: a loss that isn't a number, a `model_dir` of another run, checkpoints that
            can't be read.
    """
    started = time.monotonic()
    architecture = CLASSIFIERS[config.depth]
    shortest = architecture.min_samples(architecture.names[-1])
    if round(config.crop * SAMPLE_RATE) < shortest:
        raise SchemaError(
            f"--crop {config.crop:g}: SoundNet-{config.depth} needs {shortest / SAMPLE_RATE:.2f} s"
        )
    console = Console(highlight=False, soft_wrap=True)
    sounds = listing.read(config.data, config.audio)
    parts = listing.parts(sounds, config.held_out, config.folds)
    classes = sorted({sound.label for sound in sounds})
    base = _base(config)
    folder = Path(config.model_dir)
    _claim(config, sounds, folder)
    heard = _decode(config, sounds, folder, console)
    unreadable = {sounds[i].name: why for i, why in heard.unreadable.items()}
    if unreadable:
        listed = "".join(f"\n  {name}: {why}" for name, why in unreadable.items())
        if config.unreadable == "stop":
            # So that they are tried again, mended, by the same command.
            (folder / SOUNDS / INDEX_FILE).unlink()
            raise SchemaError(
                f"{len(unreadable)} of {len(sounds)} sounds can't be read:{listed}\nLeave them out "
                "with --unreadable skip, or mend them and give the same command again"
            )
        console.print(
            f"{len(unreadable)} of {len(sounds)} sounds can't be read and are left out:{listed}",
            markup=False,
        )
    parts = [_readable(part, sounds, heard) for part in parts]

    answers: list[Answer] = []
    models = {}
    for part in parts:
        place = folder / f"fold-{part.name}" if part.name else folder
        answers += _train_part(config, part, sounds, classes, heard, base, place)
        models[part.name] = str(place / MODEL_FILE)

    by_fold = {
        part.name: judgement.accuracy([a for a in answers if a.fold == part.name])
        for part in parts
        if part.name
    }
    counts = judgement.confusion(answers, classes)
    by_class = {
        name: None if np.isnan(recall) else float(recall)
        for name, recall in zip(classes, judgement.recalls(counts), strict=True)
    }
    result = LabelResult(
        task=config.task,
        classes=classes,
        sounds=len(sounds),
        models=models,
        accuracy=judgement.accuracy(answers) if answers else None,
        by_fold=by_fold,
        by_class=by_class,
        confusion=counts.tolist() if answers else [],
        unreadable=unreadable,
        seconds=round(time.monotonic() - started, 1),
    )
    if answers:
        judgement.write_csv(folder, answers, counts, classes)
        _show(result, answers, counts, folder, console)
    summary = json.dumps(dataclasses.asdict(result), indent=1, ensure_ascii=False) + "\n"
    write_whole(str(folder / SUMMARY_FILE), summary)
    return result


def _base(config: LabelConfig) -> SoundNet | None:
    """The network that fine-tuning goes on from."""
    if config.task == "scratch":
        return None
    try:
        base: SoundNet = load(config.weights)
    except ValueError as error:
        raise SchemaError(f"--weights: {error}") from error
    if base.depth != config.depth:
        raise SchemaError(
            f"{config.weights} holds a SoundNet-{base.depth}; give --depth {base.depth}"
        )
    return base


def _claim(config: LabelConfig, sounds: list[LabelledSound], folder: Path) -> None:
    """Put `config.json` and `list.json` into the folder, unless another run lives there."""
    rows = [dataclasses.asdict(sound) | {"path": None} for sound in sounds]
    listed = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"

    def another() -> list[str]:
        path = folder / LIST_FILE
        return ["the list"] if path.exists() and path.read_text("utf-8") != listed else []

    claim.check(config, another)
    claim.claim(config, {LIST_FILE: listed})


def _decode(
    config: LabelConfig, sounds: list[LabelledSound], folder: Path, console: Console
) -> Sounds:
    columns = TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("sounds decoded", total=len(sounds))
        return decode(sounds, folder / SOUNDS, config.channels, lambda: progress.advance(bar))


def _readable(part: Part, sounds: list[LabelledSound], heard: Sounds) -> Part:
    """The part without what can't be read to train on; every class must still be there."""
    train = tuple(i for i in part.train if i not in heard.unreadable)
    there = {sounds[i].label for i in train}
    lacking = sorted({sounds[i].label for i in part.train} - there)
    if lacking:
        raise SchemaError(
            f"none of the sounds of {', '.join(lacking)} "
            + (f"outside of fold {part.name} " if part.name else "to train on ")
            + "can be read"
        )
    return dataclasses.replace(part, train=train)


def _train_part(
    config: LabelConfig,
    part: Part,
    sounds: list[LabelledSound],
    classes: list[str],
    heard: Sounds,
    base: SoundNet | None,
    folder: Path,
) -> list[Answer]:
    """Train one network, or go on with it; what it says of the sounds that were held out."""
    if (folder / ANSWERS_FILE).exists():
        stored = json.loads((folder / ANSWERS_FILE).read_text("utf-8"))
        return [Answer(**answer) for answer in stored]
    keras.utils.set_random_seed(config.seed + 1)
    model = SoundNet(config.depth, {HEAD: classes}, classifier=True)
    if base:
        take_over(base, model)
    optimizer = Adam(config.learning_rate, config.beta_1, config.beta_2, config.epsilon)
    optimizer.build(model.trainable_variables)
    position = tf.Variable(0, dtype=tf.int64, trainable=False)
    state = {"model": model, "optimizer": optimizer, "position": position}
    checkpoints = Checkpoints(str(folder), state, keep=2)
    problems = checkpoints.restore()
    first_step = int(position.numpy())
    steps = max(1, config.epochs * len(part.train) // config.batch_size)
    labels = np.array([classes.index(sound.label) for sound in sounds])
    weights = class_weights(labels[list(part.train)], len(classes), config.class_weights)

    @tf.function(autograph=False)
    def train_step(waveform: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = model(waveform, training=True)[HEAD]  # (batch, outputs, classes)
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(
                tf.broadcast_to(label[:, None], tf.shape(logits)[:2]), logits
            )
            loss = tf.reduce_mean(tf.reduce_mean(each, 1) * tf.gather(weights, label))
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        position.assign_add(1)
        right = tf.argmax(tf.reduce_mean(tf.nn.softmax(logits), 1), 1) == label
        return loss, tf.reduce_mean(tf.cast(right, tf.float32))

    with RunLog(str(folder), first_step, steps) as log:
        for problem in problems:
            log.say(problem)
        log.say(_introduction(config, part, classes, model, first_step, steps))
        batches = iter(_batches(config, part, labels, heard, first_step, steps))
        interval = Interval(config.batch_size)
        for step in range(first_step + 1, steps + 1):
            with interval.waiting():
                waveform, label = next(batches)
            with interval.working():
                loss, right = map(float, train_step(waveform, label))
            if not math.isfinite(loss):
                names = [sounds[i].name for i, _ in draw(config, part, heard, step - 1)]
                raise TrainingError(
                    f"the loss is {loss} at step {step:,} (sounds {', '.join(names[:3])} ...); the "
                    f"last checkpoint is {checkpoints.latest or 'none'}. Start anew in "
                    "another --model-dir with a lower --learning-rate (now "
                    f"{config.learning_rate:g})"
                )
            interval.add({"loss": loss, "accuracy": right})
            log.advance(step)
            last = step == steps
            if step == 1 or step % config.log_every == 0 or last:
                log.train(step, interval.take())
            if step % config.checkpoint_every == 0 or last:
                if not all(np.isfinite(values).all() for values in model.get_weights()):
                    raise TrainingError(
                        f"the weights are no numbers any more at step {step:,}; the last "
                        f"checkpoint is {checkpoints.latest or 'none'}. Start anew in "
                        "another --model-dir with a lower --learning-rate"
                    )
                checkpoints.save(step)
        export.save_keras(model, str(folder / MODEL_FILE))
        answers = _judge(config, part, sounds, classes, heard, model)
        if answers:
            right = sum(answer.right for answer in answers)
            log.say(
                f"{right} of {len(answers)} held-out sounds named rightly "
                f"({judgement.accuracy(answers):.1f} %)"
            )
    stored = [dataclasses.asdict(answer) for answer in answers]
    write_whole(str(folder / ANSWERS_FILE), json.dumps(stored, ensure_ascii=False) + "\n")
    return answers


def take_over(base: SoundNet, model: SoundNet) -> None:
    """Give a network the weights of another of the same depth, all but the heads'."""
    heads = {f"{base.architecture.names[-1]}_{name}" for name in base.heads}
    for layer in base.layers:
        if layer.weights and layer.name not in heads:
            model.get_layer(layer.name).set_weights(layer.get_weights())


def class_weights(labels: np.ndarray, classes: int, kind: str) -> np.ndarray:
    """What a sound of each class counts: float32 (classes,), 1 on average over the sounds.

    Args:
        labels: the training sounds' classes; each class at least once.
        kind: "none": all count 1; "balanced": each class counts the same altogether.
    """
    counts = np.bincount(labels, minlength=classes)
    if kind == "none":
        return np.ones(classes, np.float32)
    return (len(labels) / (classes * counts)).astype(np.float32)


def draw(config: LabelConfig, part: Part, heard: Sounds, step: int) -> list[tuple[int, int]]:
    """The sounds of a batch (places in the list), and where each piece begins, in samples.

    Depends on the seed, the part and the step alone: each epoch has every sound once, in an order
    of its own; a batch may reach into the next epoch.

    Args:
        step: batches before this one.
    """
    samples = round(config.crop * SAMPLE_RATE)
    found = []
    order, epoch = np.zeros(0, int), -1
    for position in range(step * config.batch_size, (step + 1) * config.batch_size):
        of, place = divmod(position, len(part.train))
        if of != epoch:
            epoch = of
            order = np.random.default_rng([config.seed, 0, epoch]).permutation(len(part.train))
        sound = part.train[order[place]]
        most = max(heard.length(sound) - samples, 0)
        start = np.random.default_rng([config.seed, 1, position]).integers(most + 1)
        found.append((sound, int(start)))
    return found


def _batches(
    config: LabelConfig, part: Part, labels: np.ndarray, heard: Sounds, first: int, steps: int
) -> tf.data.Dataset:
    samples = round(config.crop * SAMPLE_RATE)

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for step in range(first, steps):
            drawn = draw(config, part, heard, step)
            waveforms = np.stack([heard.piece(sound, start, samples) for sound, start in drawn])
            yield waveforms, labels[[sound for sound, _ in drawn]]

    signature = (
        tf.TensorSpec([config.batch_size, samples], tf.float32),
        tf.TensorSpec([config.batch_size], tf.int64),
    )
    return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2)


def _judge(
    config: LabelConfig,
    part: Part,
    sounds: list[LabelledSound],
    classes: list[str],
    heard: Sounds,
    model: SoundNet,
) -> list[Answer]:
    """What the network says of the sounds that were held out: the mean over their pieces."""
    samples = round(config.crop * SAMPLE_RATE)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, samples], tf.float32)])
    def probabilities(waveform: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.softmax(model(waveform, training=False)[HEAD]), 1)

    sums = {place: np.zeros(len(classes)) for place in part.test}
    counts = dict.fromkeys(part.test, 0)
    waiting: list[tuple[int, np.ndarray]] = []

    def hear() -> None:
        said = probabilities(np.stack([piece for _, piece in waiting])).numpy()
        for (place, _), row in zip(waiting, said, strict=True):
            sums[place] += row
            counts[place] += 1
        waiting.clear()

    for place in part.test:
        for piece in () if place in heard.unreadable else heard.pieces(place, samples):
            waiting.append((place, piece))
            if len(waiting) == JUDGED_AT_ONCE:
                hear()
    if waiting:
        hear()
    answers = []
    for place in part.test:
        sound = sounds[place]
        said, probability = judgement.UNREADABLE, 0.0
        if counts[place]:
            mean = sums[place] / counts[place]
            said, probability = classes[mean.argmax()], float(mean.max())
        answers.append(Answer(sound.name, part.name, sound.label, said, probability))
    return answers


def _introduction(
    config: LabelConfig,
    part: Part,
    classes: list[str],
    model: SoundNet,
    first_step: int,
    steps: int,
) -> str:
    begins = f"fine-tuned from {config.weights}" if config.weights else "from random weights"
    return (
        f"SoundNet-{config.depth} {begins}, {model.count_params():,} parameters, {len(classes)} "
        f"classes, {'goes on' if first_step else 'begins'} at step {first_step:,} of {steps:,}; "
        f"{len(part.train):,} sounds to train, {len(part.test):,} held out"
        + (f" (fold {part.name})" if part.name else "")
    )


def _show(
    result: LabelResult,
    answers: list[Answer],
    counts: np.ndarray,
    folder: Path,
    console: Console,
) -> None:
    if len(result.classes) <= judgement.MOST_COLUMNS:
        console.print(judgement.table(counts, result.classes))
    folds = list(result.by_fold.values())
    spread = f"; folds {', '.join(f'{value:.1f}' for value in folds)}" if folds else ""
    console.print(
        f"{sum(answer.right for answer in answers)} of {len(answers)} sounds named rightly: "
        f"{result.accuracy:.1f} %{spread}; see {folder / 'confusion.csv'} and answers.csv"
    )
