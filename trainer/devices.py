"""What a batch is spread over: one processor or GPU, all GPUs of a machine, or several machines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

import tensorflow as tf

from trainer.data import Share
from trainer.errors import TrainingError

GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
)
"""What a machine meets when another one has ended."""


class Devices:
    """A distribution strategy, and what a loop of one's own needs of it.

    With `TF_CONFIG` in the environment, as TensorFlow documents it, this is one of several
    machines: `{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}`.
    Else all GPUs of this machine, or the only one, or the processor.

    Args:
        strategy: another one than that.

    Raises:
        TrainingError: `TF_CONFIG` can't be used.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None) -> None:
        self.strategy = strategy or _strategy()
        self.replicas = self.strategy.num_replicas_in_sync
        self.share = Share()
        resolver = self.strategy.cluster_resolver
        cluster = resolver.cluster_spec() if resolver else None
        if cluster and cluster.num_tasks("worker") + ("chief" in cluster.jobs) > 1:
            chiefs = int("chief" in cluster.jobs)
            first = resolver.task_type == "chief"
            self.share = Share(
                0 if first else resolver.task_id + chiefs, chiefs + cluster.num_tasks("worker")
            )

    @property
    def chief(self) -> bool:
        """Whether this machine is the one that writes."""
        return self.share.machine == 0

    def batches(self, dataset: tf.data.Dataset) -> Iterable[dict]:
        """A data set of this machine's batches, spread over its devices.

        Not Keras's nor TensorFlow's way on several machines: those ask the others in every step
        whether they have a batch, and so can't answer a damaged record by themselves.
        """
        options = tf.data.Options()
        options.deterministic = True
        dataset = dataset.with_options(options)
        if self.share.machines > 1:
            return map(self._spread, dataset)
        distribution = options.experimental_distribute
        distribution.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return self.strategy.experimental_distribute_dataset(dataset.with_options(options))

    def _spread(self, batch: dict) -> dict:
        here = self.replicas // self.share.machines
        if here == 1:
            return batch

        def of_replica(context: tf.distribute.ReplicaContext) -> dict:
            number = context.replica_id_in_sync_group % here
            return tf.nest.map_structure(lambda values: tf.split(values, here)[number], batch)

        return self.strategy.experimental_distribute_values_from_function(of_replica)

    def here(self, value) -> list[tf.Tensor]:
        """A distributed value's parts on this machine."""
        return list(self.strategy.experimental_local_results(value))

    def sums(self, value) -> float:
        """A number of each machine's, added up."""
        if self.share.machines == 1:
            return float(value)
        mine = tf.constant(float(value) / (self.replicas // self.share.machines), tf.float64)
        total = tf.function(
            lambda: self.strategy.reduce(
                tf.distribute.ReduceOp.SUM, self.strategy.run(lambda: mine), axis=None
            )
        )
        return float(total())

    def __str__(self) -> str:
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        if self.share.machines > 1:
            return (
                f"{self.replicas} {kind}s of {self.share.machines} machines, of which this is "
                f"number {self.share.machine}"
            )
        return f"{self.replicas} {kind}s" if self.replicas > 1 else f"the {kind}"


def _strategy() -> tf.distribute.Strategy:
    if os.environ.get("TF_CONFIG"):
        try:
            cluster = json.loads(os.environ["TF_CONFIG"])["cluster"]
            several = len(cluster.get("worker", [])) + len(cluster.get("chief", [])) > 1
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TrainingError(
                "TF_CONFIG can't be read; an example: "
                '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
                '"task": {"type": "worker", "index": 0}}'
            ) from error
        if several:
            return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus])
    return tf.distribute.get_strategy()
