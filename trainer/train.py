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
from dataclasses import asdict, dataclass

import keras
import numpy as np
import tensorflow as tf

from schemas.dataset_info import DatasetInfo
from trainer import averaging, data, export, losses
from trainer.config import Config
from trainer.layers import Adam
from trainer.network import SoundNet
from trainer.progress import RunLog, write_whole

CONFIG_FILE, HEADS_FILE, SUMMARY_FILE = "config.json", "heads.json", "summary.json"
MODEL_FILE, BEST_FILE, SAVED_MODEL = "model.keras", "best.keras", "saved_model"


class TrainingError(RuntimeError):
    """The training can't go on; the message says why and what to do."""


@dataclass(frozen=True)
class Result:
    """What a run came to; `summary.json` holds the same.

    Attributes:
        model: the `.keras` file of the last step.
        best_model: that of the lowest validation loss; None without validation clips.
        first_step: where this call began: 0, or the checkpoint's step.
        train: the last training metrics, as in `metrics.jsonl`.
        validation: the last validation's; empty without validation clips.
    """

    model: str
    best_model: str | None
    first_step: int
    steps: int
    seconds: float
    train: dict[str, float]
    validation: dict[str, float]


def local_strategy() -> tf.distribute.Strategy:
    """MirroredStrategy over all GPUs of this machine; TensorFlow's default for one or none."""
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus])
    return tf.distribute.get_strategy()


def train(config: Config, strategy: tf.distribute.Strategy | None = None) -> Result:
    """Train a SoundNet on the records of a data set, or go on with a run that was stopped.

    Writes into `config.model_dir`: `config.json`, `heads.json`, `checkpoints/`, `tensorboard/`,
    `metrics.jsonl`, `best.keras` (lowest validation loss), and at the end `model.keras`,
    `saved_model/` and `summary.json`.

    Args:
        strategy: how to spread a batch over devices; by default over all local GPUs.

    Raises:
        SchemaError: the data set can't be used for this run.
        TrainingError: a loss that isn't a number, damaged records, a `model_dir` of another run,
            checkpoints that can't be read, a backend of Keras other than TensorFlow.
    """
    started = time.monotonic()
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            f"Keras runs on {keras.backend.backend()} here; the training needs TensorFlow. Set "
            "KERAS_BACKEND=tensorflow"
        )
    info = data.usable_info(config)
    strategy = strategy or local_strategy()
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise TrainingError(
            f"--batch-size {config.batch_size} doesn't divide over {replicas} GPUs; "
            f"{-(-config.batch_size // replicas) * replicas} does"
        )
    _claim_model_dir(config, info)
    # Not the bare seed: with a global seed of 0 TensorFlow can't take a shuffle's from a tensor.
    keras.utils.set_random_seed(config.seed + 1)

    with strategy.scope():
        heads = {t.name: t.classes for t in info.teachers}
        embedders = frozenset(t.name for t in info.embedders)
        model = SoundNet(config.depth, heads, embeddings=embedders)
        # What is validated and written out: the network itself, or a running mean of its weights.
        judged = model
        if config.average:
            judged = SoundNet(config.depth, heads, embeddings=embedders)
            judged.set_weights(model.get_weights())
        optimizer = Adam(_learning_rate(config), config.beta_1, config.beta_2, config.epsilon)
        optimizer.build(model.trainable_variables)
        position = tf.Variable(0, dtype=tf.int64, trainable=False)
        best_loss = tf.Variable(math.inf, dtype=tf.float64, trainable=False)
        # The mean of the targets seen so far: the best prediction that doesn't listen.
        mean_targets = {
            teacher.name: tf.Variable(tf.zeros(len(teacher.classes), tf.float64), trainable=False)
            for teacher in info.teachers
        }
    checkpoint = tf.train.Checkpoint(
        model=model,
        optimizer=optimizer,
        position=position,
        best_loss=best_loss,
        mean_targets=mean_targets,
        **({"average": judged} if config.average else {}),
    )
    manager = tf.train.CheckpointManager(
        checkpoint, posixpath.join(config.model_dir, "checkpoints"), max_to_keep=config.keep
    )
    unreadable = _restore(checkpoint, manager)
    first_step = int(position.numpy())
    if first_step > config.steps:
        raise TrainingError(
            f"{config.model_dir} already holds step {first_step:,} of this run; ask for more "
            f"with --steps, or choose another --model-dir"
        )

    def replica_train_step(batch: dict) -> tuple[dict, dict]:
        with tf.GradientTape() as tape:
            logits = model(batch["waveform"], training=True)
            loss, terms = losses.distillation_loss(
                batch["probs"],
                logits,
                config.loss,
                config.loss_scale,
                embedders,
                config.embedding_loss,
            )
            # Gradients are summed over the replicas.
            share = loss / replicas
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(share, variables), variables)
        metrics = {"loss": loss}
        for name, targets in batch["probs"].items():
            metrics[f"loss/{name}"] = terms[name]
            if name in embedders:
                metrics[f"cosine/{name}"] = tf.reduce_mean(losses.cosine(targets, logits[name]))
                continue
            for k in (1, 5):
                agrees = losses.agreement(targets, logits[name], k)
                metrics[f"top{k}/{name}"] = tf.reduce_mean(agrees)
        means = {
            name: tf.reduce_mean(tf.cast(targets, tf.float64), [0, 1])
            for name, targets in batch["probs"].items()
        }
        return metrics, means

    @tf.function(autograph=False)
    def train_step(batch: dict) -> dict:
        metrics, means = strategy.run(replica_train_step, (batch,))
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

    validation_data = None
    if info.records("validation"):
        validation_data = _distribute(strategy, data.validation_batches(config, info))

    def validate() -> dict[str, float]:
        sums: dict[str, float] = defaultdict(float)
        for batch in validation_data:
            for name, value in validation_step(batch).items():
                sums[name] += float(value)
        metrics = {}
        for teacher in info.teachers:
            weight = sums.pop(f"weight/{teacher.name}")
            for key in [key for key in sums if key.endswith(f"/{teacher.name}")]:
                metrics[key] = sums[key] / weight
            # The same scale as the training's loss.
            metrics[f"loss/{teacher.name}"] *= config.loss_scale / len(teacher.classes)
        terms = [metrics[f"loss/{teacher.name}"] for teacher in info.teachers]
        return {"loss": sum(terms) / len(terms), **metrics}

    def diverged(what: str, step: int) -> TrainingError:
        return TrainingError(
            f"{what} at step {step:,}; the last checkpoint is "
            f"{manager.latest_checkpoint or 'none'}. Start anew in another --model-dir with a "
            f"lower --learning-rate (now {config.learning_rate:g})"
        )

    with RunLog(config.model_dir, first_step, config.steps) as log:
        for problem in unreadable:
            log.say(problem)
        log.say(_introduction(config, info, model, replicas, first_step))
        try:
            batches = iter(_distribute(strategy, data.train_batches(config, info, first_step)))
            interval = _Interval(config.batch_size)
            for step in range(first_step + 1, config.steps + 1):
                with interval.waiting():
                    batch = next(batches)
                with interval.working():
                    metrics = {name: float(v) for name, v in train_step(batch).items()}
                if not math.isfinite(metrics["loss"]):
                    raise diverged(f"the loss is {metrics['loss']}", step)
                interval.add(metrics)
                log.advance(step)
                last = step == config.steps
                if step == 1 or step % config.log_every == 0 or last:
                    log.train(step, interval.take())
                if validation_data and (step % config.validate_every == 0 or last):
                    validation = validate()
                    log.validation(step, validation, [t.name for t in info.teachers])
                    if validation["loss"] < best_loss.numpy():
                        best_loss.assign(validation["loss"])
                        export.save_keras(judged, posixpath.join(config.model_dir, BEST_FILE))
                if step % config.checkpoint_every == 0 or last:
                    # The loss was that of the weights before this step.
                    if not all(np.isfinite(values).all() for values in model.get_weights()):
                        raise diverged("the weights are no numbers any more", step)
                    manager.save(checkpoint_number=step)
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
            damage = data.find_damage(config, info)
            if not damage:
                raise
            raise TrainingError(
                f"{len(damage)} damaged among the records: {'; '.join(damage[:10])}. Copy these "
                "shards again, or make the data set again; the same command then goes on from "
                f"{manager.latest_checkpoint or 'the start'}"
            ) from error

        model_path = posixpath.join(config.model_dir, MODEL_FILE)
        export.save_keras(judged, model_path)
        export.save_saved_model(_load(model_path), posixpath.join(config.model_dir, SAVED_MODEL))
        result = Result(
            model=model_path,
            best_model=posixpath.join(config.model_dir, BEST_FILE) if validation_data else None,
            first_step=first_step,
            steps=config.steps,
            seconds=round(time.monotonic() - started, 1),
            train=log.last["train"],
            validation=log.last["validation"],
        )
        summary = json.dumps(asdict(result), indent=1) + "\n"
        write_whole(posixpath.join(config.model_dir, SUMMARY_FILE), summary)
        log.say(f"{config.steps:,} steps done; the network is {model_path}")
    return result


class _Interval:
    """Means of the metrics and the clock, from one point of the curves to the next."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._clear()

    def _clear(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._steps = 0
        self._waited = _Stopwatch()
        self._worked = _Stopwatch()

    def waiting(self) -> _Stopwatch:
        return self._waited

    def working(self) -> _Stopwatch:
        return self._worked

    def add(self, metrics: dict[str, float]) -> None:
        self._steps += 1
        for name, value in metrics.items():
            self._sums[name] += value

    def take(self) -> dict[str, float]:
        seconds = self._waited.seconds + self._worked.seconds
        metrics = {name: value / self._steps for name, value in self._sums.items()}
        metrics["clips_per_second"] = self._steps * self._batch_size / seconds
        metrics["waiting_share"] = self._waited.seconds / seconds
        self._clear()
        return metrics


class _Stopwatch:
    """Adds up the time inside `with`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._started


def _learning_rate(config: Config) -> float | keras.optimizers.schedules.LearningRateSchedule:
    if config.schedule == "constant":
        return config.learning_rate
    decay = config.steps - config.warmup_steps
    if not config.warmup_steps:
        return keras.optimizers.schedules.CosineDecay(config.learning_rate, decay)
    return keras.optimizers.schedules.CosineDecay(
        0.0, decay, warmup_target=config.learning_rate, warmup_steps=config.warmup_steps
    )


def _distribute(strategy: tf.distribute.Strategy, batches: tf.data.Dataset):
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return strategy.experimental_distribute_dataset(batches.with_options(options))


def _restore(checkpoint: tf.train.Checkpoint, manager: tf.train.CheckpointManager) -> list[str]:
    """Go back to the newest checkpoint that can be read; returns what is wrong with newer ones."""
    problems = []
    for path in reversed(manager.checkpoints):
        try:
            checkpoint.restore(path).assert_consumed()
            return problems
        except (tf.errors.OpError, IndexError, ValueError, AssertionError) as error:
            problems.append(f"the checkpoint {path} can't be read: {str(error).splitlines()[0]}")
    if problems:
        raise TrainingError(
            f"{'; '.join(problems)}. Remove {manager.directory} to start anew, or choose another "
            "--model-dir"
        )
    return problems


def _claim_model_dir(config: Config, info: DatasetInfo) -> None:
    """Put `config.json`, `heads.json` into the model's folder, unless another run lives there."""
    path = posixpath.join(config.model_dir, CONFIG_FILE)
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path) as file:
            try:
                differing = config.differs_from(Config.from_json(file.read()))
            except ValueError as error:
                raise TrainingError(
                    f"{path} can't be read ({error}); choose another --model-dir"
                ) from error
        if differing:
            raise TrainingError(
                f"{config.model_dir} holds a run with other settings ({', '.join(differing)}; see "
                f"{path}); give the same to go on with it, or choose another --model-dir"
            )
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
    try:
        tf.io.gfile.makedirs(config.model_dir)
        write_whole(posixpath.join(config.model_dir, HEADS_FILE), heads)
        write_whole(posixpath.join(config.model_dir, CONFIG_FILE), config.to_json())
    except (tf.errors.FailedPreconditionError, tf.errors.NotFoundError) as error:
        raise TrainingError(f"--model-dir can't be a folder: {error.message}") from error


def _load(path: str) -> SoundNet:
    return keras.saving.load_model(path, compile=False)


def _introduction(
    config: Config, info: DatasetInfo, model: SoundNet, replicas: int, first_step: int
) -> str:
    teachers = ", ".join(f"{t.name} ({len(t.classes)} classes)" for t in info.teachers)
    devices = (
        f"{replicas} GPUs"
        if replicas > 1
        else ("1 GPU" if tf.config.list_logical_devices("GPU") else "the CPU")
    )
    start = f"goes on at step {first_step:,}" if first_step else "begins"
    return (
        f"SoundNet-{config.depth}, {model.count_params():,} parameters, {start}; "
        f"{info.records('train'):,} clips to train, {info.records('validation'):,} to validate; "
        f"teachers {teachers}; batches of {config.batch_size} on {devices}"
    )
