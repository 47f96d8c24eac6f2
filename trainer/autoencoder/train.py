"""The training of an autoencoder, from top to bottom: `train(config)`.

On one device: the paper's baseline is small, and a step of it is quick.
"""

from __future__ import annotations

import json
import math
import posixpath
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import keras
import numpy as np
import tensorflow as tf

from schemas import SchemaError
from schemas.dataset_info import DatasetInfo
from schemas.waveform import WAVEFORM_PEAK
from trainer import claim, damage, data, export
from trainer.autoencoder.config import AutoencoderConfig
from trainer.autoencoder.network import Autoencoder
from trainer.checkpoints import Checkpoints
from trainer.errors import TrainingError
from trainer.layers import Adam
from trainer.network import SOUNDNET8
from trainer.progress import Interval, RunLog, write_whole

MODEL_FILE, SUMMARY_FILE = "model.keras", "summary.json"


@dataclass(frozen=True)
class Result:
    """What a run came to; `summary.json` holds the same.

    Attributes:
        model: the `.keras` file of the last step.
        train, validation: the last metrics: `loss`, the mean squared error where full scale is 1,
            and `unexplained`, the same as a share of the sound's power (1: no better than silence).
            No validation where there are no clips for it.
        damaged: what was passed over because it can't be read.
    """

    model: str
    steps: int
    seconds: float
    train: dict[str, float]
    validation: dict[str, float]
    damaged: list[str]


def train(config: AutoencoderConfig) -> Result:
    """Train an autoencoder on a data set's sounds, or go on with a run that was stopped.

    Writes into `config.model_dir`: `config.json`, `checkpoints/`, `tensorboard/`, `metrics.jsonl`,
    and at the end `model.keras` and `summary.json`. Records that can't be read are passed over, and
    named.

    Raises:
        SchemaError: the data set can't be used.
        TrainingError: a loss that isn't a number, a `model_dir` of another run, checkpoints that
            can't be read or written, nothing left to read.
    """
    started = time.monotonic()
    info = data.read_info(config.data)
    if not info.records("train") or not info.teachers:
        raise SchemaError(
            f"{config.data} has no clips to train on (split `train`); add videos with "
            "`python -m pipeline`"
        )
    info = replace(info, teachers=info.teachers[:1])  # what they say isn't needed
    shortest = SOUNDNET8.min_samples(config.bottleneck) / info.sample_rate
    if config.crop and not shortest <= config.crop < info.clip_seconds:
        raise SchemaError(
            f"--crop {config.crop:g}: a piece of the clips in {config.data} is wanted, from "
            f"{shortest:.2f} s (what {config.bottleneck} needs) to below {info.clip_seconds:g} s"
        )
    claim.check(config)
    claim.claim(config)
    keras.utils.set_random_seed(config.seed + 1)
    model = Autoencoder(config.bottleneck)
    optimizer = Adam(config.learning_rate, config.beta_1, config.beta_2, config.epsilon)
    optimizer.build(model.trainable_variables)
    position = tf.Variable(0, dtype=tf.int64, trainable=False)
    state = {"model": model, "optimizer": optimizer, "position": position}
    checkpoints = Checkpoints(config.model_dir, state, keep=2)
    problems = checkpoints.restore()
    first_step = int(position.numpy())
    if first_step > config.steps:
        raise TrainingError(
            f"{config.model_dir} already holds step {first_step:,} of this run; ask for more "
            "with --steps, or choose another --model-dir"
        )
    known = damage.Known(config.model_dir, 0, first_step)

    @tf.function(autograph=False)
    def train_step(waveform: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(_errors(waveform, model(waveform, training=True)))
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        position.assign_add(1)
        return loss, tf.reduce_mean(_errors(waveform, 0.0))

    @tf.function(autograph=False)
    def validation_step(waveform: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        heard = model(waveform, training=False)
        return (
            tf.reduce_sum(weight * _errors(waveform, heard)),
            tf.reduce_sum(weight * _errors(waveform, 0.0)),
        )

    def pass_over(error: tf.errors.OpError, step: int) -> None:
        new = known.add(step, damage.find(config.data, info))
        if not new:
            raise error
        for words in damage.words(config.data, new):
            log.say(f"passed over: {words}")
        if not data.is_enough(config.reading, info, known.all):
            raise TrainingError(
                f"nothing of {config.data} can be read; copy the data set again"
            ) from error

    def batches(step: int) -> Iterator[tf.Tensor]:
        """Waveforms from a step on."""
        while True:
            stream = data.train_batches(config.reading, info, step, damaged=known.all)
            try:
                for batch in stream:
                    yield batch["waveform"]
                    step += 1
            except damage.UNREADABLE as error:
                pass_over(error, step)

    def validate(step: int) -> dict[str, float]:
        while True:
            stream = data.validation_batches(config.reading, info, damaged=known.all)
            sums: dict[str, float] = defaultdict(float)
            try:
                for batch in stream:
                    errors, power = validation_step(batch["waveform"], batch["weight"])
                    sums["errors"] += float(errors)
                    sums["power"] += float(power)
                    sums["clips"] += float(tf.reduce_sum(batch["weight"]))
            except damage.UNREADABLE as error:
                pass_over(error, step)
            else:
                return _metrics(sums["errors"] / sums["clips"], sums["power"] / sums["clips"])

    with RunLog(config.model_dir, first_step, config.steps) as log:
        for problem in problems:
            log.say(problem)
        log.say(_introduction(config, info, model, first_step))
        stream, interval = batches(first_step), Interval(config.batch_size)
        for step in range(first_step + 1, config.steps + 1):
            with interval.waiting():
                waveform = next(stream)
            with interval.working():
                loss, power = map(float, train_step(waveform))
            if not math.isfinite(loss):
                raise _diverged(config, checkpoints, step)
            interval.add(_metrics(loss, power))
            log.advance(step)
            last = step == config.steps
            if step == 1 or step % config.log_every == 0 or last:
                log.train(step, interval.take())
            if info.records("validation") and (step % config.validate_every == 0 or last):
                log.validation(step, validate(step), [])
            if step % config.checkpoint_every == 0 or last:
                if not all(np.isfinite(values).all() for values in model.get_weights()):
                    raise _diverged(config, checkpoints, step)
                checkpoints.save(step)
        path = posixpath.join(config.model_dir, MODEL_FILE)
        export.save_keras(model, path)
        result = Result(
            model=path,
            steps=config.steps,
            seconds=round(time.monotonic() - started, 1),
            train=log.last["train"],
            validation=log.last["validation"],
            damaged=damage.words(config.data, known.all),
        )
        summary = json.dumps(asdict(result), indent=1) + "\n"
        write_whole(posixpath.join(config.model_dir, SUMMARY_FILE), summary)
        log.say(f"{config.steps:,} steps done; the network is {path}")
    return result


def _errors(waveform: tf.Tensor, heard: tf.Tensor | float) -> tf.Tensor:
    """The mean squared error of each clip, where full scale is 1: (batch, samples) to (batch,)."""
    return tf.reduce_mean(tf.square((waveform - heard) / WAVEFORM_PEAK), 1)


def _metrics(loss: float, power: float) -> dict[str, float]:
    return {"loss": loss, "unexplained": loss / power if power else math.nan}


def _diverged(config: AutoencoderConfig, checkpoints: Checkpoints, step: int) -> TrainingError:
    return TrainingError(
        f"the loss or the weights are no numbers any more at step {step:,}; the last checkpoint is "
        f"{checkpoints.latest or 'none'}. Start anew in another --model-dir with a lower "
        f"--learning-rate (now {config.learning_rate:g})"
    )


def _introduction(
    config: AutoencoderConfig, info: DatasetInfo, model: Autoencoder, first_step: int
) -> str:
    start = f"goes on at step {first_step:,}" if first_step else "begins"
    return (
        f"autoencoder to {config.bottleneck} and back, {model.count_params():,} parameters, "
        f"{start}; {info.records('train'):,} clips to train, {info.records('validation'):,} to "
        f"validate; batches of {config.batch_size}"
    )
