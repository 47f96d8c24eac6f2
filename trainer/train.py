"""The training, from top to bottom: `train(config)`.

The loop is our own, not Keras's `fit`: it goes on exactly where it was stopped, it measures the
wait for data, and it runs under distribution strategies that `fit` doesn't know.
"""

from __future__ import annotations

import json
import math
import posixpath
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import keras
import numpy as np
import tensorflow as tf

from schemas.dataset_info import DatasetInfo
from trainer import averaging, claim, damage, data, export, losses
from trainer.checkpoints import Checkpoints
from trainer.config import Config
from trainer.devices import GONE, Devices
from trainer.errors import TrainingError
from trainer.layers import Adam
from trainer.network import SoundNet
from trainer.progress import Interval, Profile, RunLog, write_whole

HEADS_FILE, SUMMARY_FILE = "heads.json", "summary.json"
MODEL_FILE, BEST_FILE, SAVED_MODEL = "model.keras", "best.keras", "saved_model"


EXPLODED = 100
"""So many times what a network that knows nothing loses is a loss that won't come down again."""


@dataclass(frozen=True)
class Result:
    """What a run came to; `summary.json` holds the same.

    Attributes:
        model: the `.keras` file of the last step.
        best_model: that of the lowest validation loss; None without validation clips.
        first_step: where this call began: 0, or the checkpoint's step.
        train: the last training metrics, as in `metrics.jsonl`.
        validation: the last validation's; empty without validation clips.
        damaged: what was passed over because it can't be read.
    """

    model: str
    best_model: str | None
    first_step: int
    steps: int
    seconds: float
    train: dict[str, float]
    validation: dict[str, float]
    damaged: list[str]


def train(config: Config, strategy: tf.distribute.Strategy | None = None) -> Result:
    """Train a SoundNet on the records of a data set, or go on with a run that was stopped.

    Writes into `config.model_dir`: `config.json`, `heads.json`, `checkpoints/`, `tensorboard/`,
    `metrics.jsonl`, `best.keras` (lowest validation loss), and at the end `model.keras`,
    `saved_model/` and `summary.json`.

    Args:
        strategy: how to spread a batch over devices; by default as `trainer.devices` finds them.

    Raises:
        SchemaError: the data set can't be used for this run.
        TrainingError: a loss that isn't a number or explodes, damaged records, a `model_dir` of
            another run, checkpoints that can't be read or written, another machine that is gone,
            a backend of Keras other than TensorFlow.
    """
    started = time.monotonic()
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            f"Keras runs on {keras.backend.backend()} here; the training needs TensorFlow. Set "
            "KERAS_BACKEND=tensorflow"
        )
    devices = Devices(strategy)  # before anything else of TensorFlow's
    strategy, replicas, share = devices.strategy, devices.replicas, devices.share
    info = data.usable_info(config)
    _check_fit(config, info, devices)
    _claim_model_dir(config, info, devices.chief)
    keras.utils.set_random_seed(config.seed + 1)

    with strategy.scope():
        embedders = frozenset(t.name for t in info.embedders)
        model = _network(config, info)
        # What is validated and written out: the network itself, or a running mean of its weights.
        judged = model
        if config.average:
            judged = _network(config, info)
            judged.set_weights(model.get_weights())
        optimizer = Adam(_learning_rate(config), config.beta_1, config.beta_2, config.epsilon)
        if config.precision == "float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(model.trainable_variables)
        position = tf.Variable(0, dtype=tf.int64, trainable=False)
        best_loss = tf.Variable(math.inf, dtype=tf.float64, trainable=False)
        # The mean of the targets seen so far: the best prediction that doesn't listen.
        mean_targets = {
            teacher.name: tf.Variable(tf.zeros(len(teacher.classes), tf.float64), trainable=False)
            for teacher in info.teachers
        }
    state = {
        "model": model,
        "optimizer": optimizer,
        "position": position,
        "best_loss": best_loss,
        "mean_targets": mean_targets,
        **({"average": judged} if config.average else {}),
    }
    checkpoints = Checkpoints(config.model_dir, state, config.keep, devices.chief)
    unreadable = checkpoints.restore()
    first_step = int(position.numpy())
    if first_step > config.steps:
        raise TrainingError(
            f"{config.model_dir} already holds step {first_step:,} of this run; ask for more "
            f"with --steps, or choose another --model-dir"
        )
    if devices.sums(first_step) != share.machines * first_step:
        raise TrainingError(
            f"the machines don't go on at the same step (this one at {first_step:,}); --model-dir "
            "must be a folder that they all see"
        )

    def gradients_of(waveform: tf.Tensor, targets: dict) -> tuple[list, dict]:
        """The gradients of a replica's part of the batch, or of a piece of it, and its metrics."""
        with tf.GradientTape() as tape:
            logits = model(waveform, training=True)
            loss, terms = losses.distillation_loss(
                targets,
                logits,
                config.loss,
                config.loss_scale,
                embedders,
                config.embedding_loss,
            )
            # Gradients are summed over the replicas and the pieces.
            scaled = optimizer.scale_loss(loss / (replicas * config.accumulate))
        metrics = {"loss": loss}
        for name, probs in targets.items():
            metrics[f"loss/{name}"] = terms[name]
            if name in embedders:
                metrics[f"cosine/{name}"] = tf.reduce_mean(losses.cosine(probs, logits[name]))
                continue
            for k in (1, 5):
                agrees = losses.agreement(probs, logits[name], k)
                metrics[f"top{k}/{name}"] = tf.reduce_mean(agrees)
        return tape.gradient(scaled, model.trainable_variables), metrics

    def replica_train_step(batch: dict) -> tuple[dict, dict]:
        waveforms = tf.split(batch["waveform"], config.accumulate)
        targets = {n: tf.split(probs, config.accumulate) for n, probs in batch["probs"].items()}
        gradients: list[tf.Tensor] = []
        metrics: dict[str, tf.Tensor] = {}
        for number, waveform in enumerate(waveforms):
            told = {name: some[number] for name, some in targets.items()}
            # One piece after the other, or all would be in memory at once.
            with tf.control_dependencies(gradients):
                waveform = tf.identity(waveform)
            more, of_piece = gradients_of(waveform, told)
            gradients = [a + b for a, b in zip(gradients, more, strict=True)] if number else more
            for name, value in of_piece.items():
                metrics[name] = metrics.get(name, 0.0) + value / config.accumulate
        optimizer.apply(gradients, model.trainable_variables)
        means = {
            name: tf.reduce_mean(tf.cast(targets, tf.float64), [0, 1])
            for name, targets in batch["probs"].items()
        }
        return metrics, means

    if config.jit:
        replica_train_step = tf.function(replica_train_step, autograph=False, jit_compile=True)

    @tf.function(autograph=False)
    def train_step(batch: dict) -> dict:
        heard = {"waveform": batch["waveform"], "probs": batch["probs"]}
        metrics, means = strategy.run(replica_train_step, (heard,))
        mean = tf.distribute.ReduceOp.MEAN
        position.assign_add(1)
        if config.average:
            averaging.update(judged, model, config.average, position)
        for name, seen in mean_targets.items():
            of_batch = strategy.reduce(mean, means[name], axis=None)
            seen.assign_add((of_batch - seen) / tf.cast(position, tf.float64))
        return {name: strategy.reduce(mean, value, axis=None) for name, value in metrics.items()}

    def replica_validation_step(batch: dict) -> dict:
        logits = judged(batch["waveform"], training=False)
        sums = {}
        for name, targets in batch["probs"].items():
            weight = tf.broadcast_to(batch["weight"][:, None], tf.shape(targets)[:2])
            constant = tf.cast(mean_targets[name], tf.float32)
            if name in embedders:
                values = {
                    "loss": losses.EMBEDDING_LOSSES[config.embedding_loss](targets, logits[name]),
                    "cosine": losses.cosine(targets, logits[name]),
                    "cosine_constant": losses.cosine(
                        targets, tf.broadcast_to(constant, tf.shape(targets))
                    ),
                }
            else:
                constant = tf.math.log(tf.maximum(constant, 1e-12))
                values = {
                    "loss": losses.LOSSES[config.loss](targets, logits[name]),
                    "kl": losses.kl(targets, logits[name]),
                    "kl_constant": losses.kl(targets, constant),
                    "top1": losses.agreement(targets, logits[name], 1),
                    "top5": losses.agreement(targets, logits[name], 5),
                }
            values["weight"] = tf.ones_like(weight)
            for key, value in values.items():
                sums[f"{key}/{name}"] = tf.reduce_sum(tf.cast(weight * value, tf.float64))
        return sums

    @tf.function(autograph=False)
    def validation_step(batch: dict) -> dict:
        sums = strategy.run(replica_validation_step, (batch,))
        add = tf.distribute.ReduceOp.SUM
        return {name: strategy.reduce(add, value, axis=None) for name, value in sums.items()}

    known = damage.Known(config.model_dir, share.machine, first_step)

    def pass_over(error: tf.errors.OpError, step: int, files: Collection[str]) -> None:
        """Note what can't be read around here, if that is asked for; else say what it is."""
        found = damage.find(config.data, info, files) or damage.find(config.data, info)
        if not found:
            raise error
        if config.damaged == "stop":
            named = damage.words(config.data, found)
            raise TrainingError(
                f"{len(named)} damaged among the records: {'; '.join(named[:10])}. Copy these "
                "shards again, make the data set again, or pass over them with --damaged skip; the "
                f"same command then goes on from {checkpoints.latest or 'the start'}"
            ) from error
        new = known.add(step, found)
        if not new:
            raise error
        for words in damage.words(config.data, new):
            log.say(f"passed over: {words}")
        if not data.is_enough(config, info, known.all):
            raise TrainingError(
                f"too little of {config.data} can be read for {config.parts} parts of each batch; "
                "copy the data set again"
            ) from error

    def train_batches(step: int) -> Iterator[dict]:
        """Batches from a step on."""
        while True:
            stream = data.train_batches(config, info, step, share, known.all)
            try:
                for batch in devices.batches(stream):
                    yield batch
                    step += 1
            except damage.UNREADABLE as error:
                near = data.files_near(config, info, step, share, known.all)
                pass_over(error, step, near)

    def validation_sums(step: int) -> dict[str, float]:
        while True:
            stream = data.validation_batches(config, info, share, known.all)
            sums: dict[str, float] = defaultdict(float)
            try:
                for batch in devices.batches(stream):
                    for name, value in validation_step(batch).items():
                        sums[name] += float(value)
                return sums
            except damage.UNREADABLE as error:
                files = {shard.file for shard in info.splits["validation"]}
                pass_over(error, step, files)

    def validate(step: int) -> dict[str, float]:
        sums = validation_sums(step)
        metrics = {}
        for teacher in info.teachers:
            weight = sums.pop(f"weight/{teacher.name}")
            for key in [key for key in sums if key.endswith(f"/{teacher.name}")]:
                metrics[key] = sums[key] / weight
            # The same scale as the training's loss.
            metrics[f"loss/{teacher.name}"] *= config.loss_scale / len(teacher.classes)
        terms = [metrics[f"loss/{teacher.name}"] for teacher in info.teachers]
        return {"loss": sum(terms) / len(terms), **metrics}

    def diverged(what: str, step: int, batch: dict) -> TrainingError:
        numbers = np.unique(np.concatenate([n.numpy() for n in devices.here(batch["shard"])]))
        files = ", ".join(info.splits["train"][number].file for number in numbers)
        return TrainingError(
            f"{what} at step {step:,}, whose clips are from {files}; the last checkpoint is "
            f"{checkpoints.latest or 'none'}. Start anew in another --model-dir with a lower "
            f"--learning-rate (now {config.learning_rate:g})"
        )

    with (
        RunLog(config.model_dir, first_step, config.steps, devices.chief) as log,
        Profile(config.model_dir, first_step, config.profile if devices.chief else 0) as profile,
    ):
        for problem in unreadable:
            log.say(problem)
        log.say(_introduction(config, info, model, devices, first_step))
        files = data.misfits(config.data, info) if config.damaged == "skip" else {}
        if files.keys() - {one.file for one in known.all}:
            error = tf.errors.DataLossError(None, None, "; ".join(files.values()))
            pass_over(error, 0, files)
        has_validation = bool(info.records("validation"))
        most = EXPLODED * _ignorance(config, info)
        batches = train_batches(first_step)
        interval = Interval(config.batch_size)
        for step in range(first_step + 1, config.steps + 1):
            with interval.waiting():
                batch = next(batches)
            with interval.working(), profile.step(step), _others(devices):
                metrics = {name: float(v) for name, v in train_step(batch).items()}
            if not metrics["loss"] < most:
                raise diverged(f"the loss is {metrics['loss']}", step, batch)
            interval.add(metrics)
            log.advance(step)
            last = step == config.steps
            if step == 1 or step % config.log_every == 0 or last:
                log.train(step, interval.take())
            if has_validation and (step % config.validate_every == 0 or last):
                with _others(devices):
                    validation = validate(step)
                log.validation(step, validation, [t.name for t in info.teachers])
                if validation["loss"] < best_loss.numpy():
                    best_loss.assign(validation["loss"])
                    if devices.chief:
                        export.save_keras(judged, posixpath.join(config.model_dir, BEST_FILE))
            if step % config.checkpoint_every == 0 or last:
                # The loss was that of the weights before this step.
                if not all(np.isfinite(values).all() for values in model.get_weights()):
                    raise diverged("the weights are no numbers any more", step, batch)
                checkpoints.save(step)

        model_path = posixpath.join(config.model_dir, MODEL_FILE)
        result = Result(
            model=model_path,
            best_model=posixpath.join(config.model_dir, BEST_FILE) if has_validation else None,
            first_step=first_step,
            steps=config.steps,
            seconds=round(time.monotonic() - started, 1),
            train=log.last["train"],
            validation=log.last["validation"],
            damaged=damage.words(config.data, known.all),
        )
        if devices.chief:
            export.save_keras(judged, model_path)
            folder = posixpath.join(config.model_dir, SAVED_MODEL)
            export.save_saved_model(_load(model_path), folder)
            summary = json.dumps(asdict(result), indent=1) + "\n"
            write_whole(posixpath.join(config.model_dir, SUMMARY_FILE), summary)
        if known.all:
            log.say(f"{len(known.all)} damaged were passed over; {SUMMARY_FILE} names them")
        log.say(f"{config.steps:,} steps done; the network is {model_path}")
    return result


def _check_fit(config: Config, info: DatasetInfo, devices: Devices) -> None:
    """Refuse settings that don't fit the devices or the data."""
    replicas, machines = devices.replicas, devices.share.machines
    pieces = replicas * config.accumulate
    if config.batch_size % pieces:
        accumulated = f" in {config.accumulate} pieces" if config.accumulate > 1 else ""
        raise TrainingError(
            f"--batch-size {config.batch_size} doesn't divide over {replicas} devices{accumulated};"
            f" {-(-config.batch_size // pieces) * pieces} does"
        )
    if config.parts % machines:
        raise TrainingError(
            f"--parts {config.parts} can't be dealt to {machines} machines; give --parts {machines}"
        )
    if not data.is_enough(config, info):
        raise TrainingError(
            f"{config.data} has too few shards for --parts {config.parts}; make the data set again "
            "with smaller shards, or give fewer parts"
        )
    if replicas > 1 and (config.jit or config.precision == "float16"):
        option = "--jit" if config.jit else "--precision float16"
        raise TrainingError(f"{option} works on one device, and here are {replicas}; leave it out")


def _network(config: Config, info: DatasetInfo) -> SoundNet:
    """A fresh network, of which what lies between weights and logits has the run's precision."""
    before = keras.config.dtype_policy()
    policy = "float32" if config.precision == "float32" else f"mixed_{config.precision}"
    keras.config.set_dtype_policy(policy)
    try:
        heads = {teacher.name: teacher.classes for teacher in info.teachers}
        embedders = frozenset(teacher.name for teacher in info.embedders)
        return SoundNet(config.depth, heads, embeddings=embedders)
    finally:
        keras.config.set_dtype_policy(before)


def _ignorance(config: Config, info: DatasetInfo) -> float:
    """What a network loses that gives all classes the same chance, and certain teachers.

    Infinity where a loss has no such bound, or can't grow beyond it.
    """
    if config.loss != "kl" or info.embedders:
        return math.inf
    terms = [math.log(len(t.classes)) / len(t.classes) for t in info.teachers]
    return config.loss_scale * sum(terms) / len(terms)


@contextmanager
def _others(devices: Devices) -> Iterator[None]:
    """Say what it means when the other machines don't answer."""
    try:
        yield
    except GONE as error:
        if devices.share.machines == 1:
            raise
        raise TrainingError(
            f"another machine has ended or can't be reached ({error.message.splitlines()[0]}); see "
            "what it said, and start all of them again: they go on from the last checkpoint"
        ) from error


def _learning_rate(config: Config) -> float | keras.optimizers.schedules.LearningRateSchedule:
    if config.schedule == "constant":
        return config.learning_rate
    decay = config.steps - config.warmup_steps
    if not config.warmup_steps:
        return keras.optimizers.schedules.CosineDecay(config.learning_rate, decay)
    return keras.optimizers.schedules.CosineDecay(
        0.0, decay, warmup_target=config.learning_rate, warmup_steps=config.warmup_steps
    )


def _claim_model_dir(config: Config, info: DatasetInfo, writes: bool) -> None:
    """Put `config.json`, `heads.json` into the model's folder, unless another run lives there."""
    claim.check(config)
    heads = export.heads_json({teacher.name: teacher.classes for teacher in info.teachers})
    path = posixpath.join(config.model_dir, HEADS_FILE)
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path) as file:
            if file.read() != heads:
                raise TrainingError(
                    f"{config.model_dir} holds a run with other teachers or classes (see {path}) "
                    f"than {config.data} has; go on with its own data, or choose another "
                    "--model-dir"
                )
    if writes:
        claim.claim(config, {HEADS_FILE: heads})


def _load(path: str) -> SoundNet:
    return keras.saving.load_model(path, compile=False)


def _introduction(
    config: Config, info: DatasetInfo, model: SoundNet, devices: Devices, first_step: int
) -> str:
    teachers = ", ".join(f"{t.name} ({len(t.classes)} classes)" for t in info.teachers)
    start = f"goes on at step {first_step:,}" if first_step else "begins"
    return (
        f"SoundNet-{config.depth}, {model.count_params():,} parameters, {start}; "
        f"{info.records('train'):,} clips to train, {info.records('validation'):,} to validate; "
        f"teachers {teachers}; batches of {config.batch_size} on {devices}"
    )
