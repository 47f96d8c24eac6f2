"""Keras's layers and optimizer with TensorFlow operations of the same result that take less time.

On every other backend they are Keras's own. What each saves is in `docs/training.md`.
"""

from __future__ import annotations

import keras

FEW_STEPS = 16
"""Up to so many outputs a clip, a convolution is one matrix product of its windows."""


def _tensorflow_on_cpu() -> bool:
    """Whether the operations that only pay on processors should be used."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_logical_devices("GPU")


@keras.saving.register_keras_serializable(package="soundnet")
class Conv1D(keras.layers.Conv1D):
    """Convolution over (batch, steps, channels), quick on processors for this network's shapes.

    Few filters over a long sound: oneDNN's gradient of the kernel uses a fraction of the vector
    units. Here neighbouring outputs count as more filters of a longer kernel (`_kernel_gradient`).
    A long kernel over few steps: in training as a matrix product, which reads its weights once;
    otherwise not, so that what is heard is the same to the bit whatever its length and batch.
    """

    def call(self, inputs, training=None):
        plain = (
            self.padding != "valid"
            or self.data_format != "channels_last"
            or self.groups != 1
            or self.dilation_rate != (1,)
            or not self.use_bias
            or self.activation is not keras.activations.linear
        )
        if plain or not _tensorflow_on_cpu():
            return super().call(inputs)
        import tensorflow as tf

        stride, size = self.strides[0], self.kernel_size[0]
        steps = inputs.shape[1]
        if (
            training
            and steps is not None
            and 0 < (outputs := (steps - size) // stride + 1) <= FEW_STEPS
        ):
            windows = [inputs[:, i : i + outputs * stride : stride] for i in range(size)]
            rows = tf.reshape(tf.concat(windows, -1), [-1, size * inputs.shape[-1]])
            products = rows @ tf.reshape(self.kernel, [-1, self.filters])
            products = tf.reshape(products, [-1, outputs, self.filters])
            return tf.nn.bias_add(products, self.bias)
        inputs = tf.expand_dims(inputs, 1)  # (batch, 1, steps, channels)
        if self.compute_dtype == "float32" and stride == 2 and self.filters <= 32:
            convolved = _convolve(inputs, self.kernel[None])
        else:
            convolved = tf.nn.conv2d(inputs, self.kernel[None], [1, 1, stride, 1], "VALID")
        return tf.squeeze(tf.nn.bias_add(convolved, self.bias), 1)


def _convolve(inputs, kernel):
    """Convolution of stride 2 without padding, (batch, 1, steps, channels)."""
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(inputs, kernel):
        strides, padding = [1, 1, 2, 1], "VALID"

        def gradient(upstream):
            of_inputs = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(inputs),
                filter=kernel,
                out_backprop=upstream,
                strides=strides,
                padding=padding,
            )
            return of_inputs, _kernel_gradient(inputs, kernel.shape, upstream)

        return tf.nn.conv2d(inputs, kernel, strides, padding), gradient

    return convolve(inputs, kernel)


def _kernel_gradient(inputs, shape, upstream):
    """The gradient of the kernel (1, size, channels, filters) of `_convolve`.

    So many neighbouring outputs make one with 64 filters; a block of inputs is what their windows
    begin on. The kernel of such a block is the true one at as many places, whose gradients add up.
    """
    import tensorflow as tf

    _, size, channels, filters = shape
    together = 64 // filters
    block = 2 * together
    taps = -(-(size + block - 2) // block)
    outputs, steps, batch = tf.shape(upstream)[2], tf.shape(inputs)[2], tf.shape(inputs)[0]
    blocks = -(-outputs // together)
    length = (blocks + taps - 1) * block
    inputs = tf.pad(inputs, [[0, 0], [0, 0], [0, tf.maximum(length - steps, 0)], [0, 0]])
    inputs = tf.reshape(inputs[:, :, :length], [batch, 1, length // block, block * channels])
    upstream = tf.pad(upstream, [[0, 0], [0, 0], [0, blocks * together - outputs], [0, 0]])
    gradient = tf.raw_ops.Conv2DBackpropFilter(
        input=inputs,
        filter_sizes=[1, taps, block * channels, together * filters],
        out_backprop=tf.reshape(upstream, [batch, 1, blocks, together * filters]),
        strides=[1, 1, 1, 1],
        padding="VALID",
    )
    gradient = tf.reshape(gradient, [taps * block, channels, together, filters])
    places = [gradient[2 * i : 2 * i + size, :, i] for i in range(together)]
    return tf.add_n(places)[None]


@keras.saving.register_keras_serializable(package="soundnet")
class Adam(keras.optimizers.Adam):
    """Adam with TensorFlow's fused operation, where Keras's own passes over the weights ten times.

    Same formula, same state, same names (Kingma and Ba 2015, with the step size corrected instead
    of the moments).
    """

    def update_step(self, gradient, variable, learning_rate):
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        def cast(value):
            return tf.cast(value, variable.dtype)

        step = cast(self.iterations + 1)
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].handle,
            v=self._velocities[index].handle,
            beta1_power=cast(self.beta_1) ** step,
            beta2_power=cast(self.beta_2) ** step,
            lr=cast(learning_rate),
            beta1=cast(self.beta_1),
            beta2=cast(self.beta_2),
            epsilon=cast(self.epsilon),
            grad=cast(gradient),
        )


@keras.saving.register_keras_serializable(package="soundnet")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization over (batch, steps, channels), with TensorFlow's fused operation.

    On the TensorFlow backend a training step of SoundNet-8 takes about a quarter less time than
    with Keras's own layer, which it is on every other backend. Same weights, same names, same
    output; the running variance is the unbiased one, as in Torch (Keras's own keeps the biased one,
    n - 1 instead of n in the divisor, where n = batch x steps).

    In half precision (float16, bfloat16) the statistics are still computed in float32.

    Under a distribution strategy of several replicas all normalize with the statistics of the whole
    batch, so that many devices train as one does.

    Args:
        epsilon: Torch's default, in force in the authors' code. Keras's default is 1e-3.
        momentum: share of the old running statistics that stays (Torch's 0.1 is Keras's 0.9).
    """

    def __init__(self, epsilon: float = 1e-5, momentum: float = 0.9, **kwargs) -> None:
        super().__init__(epsilon=epsilon, momentum=momentum, **kwargs)

    def add_weight(self, *args, **kwargs):
        if not kwargs.get("trainable", True):
            # Without this each replica of a distribution strategy keeps statistics of its own.
            kwargs["aggregation"] = "mean"
        return super().add_weight(*args, **kwargs)

    def call(self, inputs, training=None, mask=None):
        fused = (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 3
            and self.axis in (-1, 2)
            and self.center
            and self.scale
            and mask is None
            and not self.renorm
            and not self.synchronized
            and keras.backend.standardize_dtype(inputs.dtype) in ("float32", "float16", "bfloat16")
        )
        if not fused:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        train = bool(training and self.trainable)
        replicas = tf.distribute.get_replica_context()
        if train and replicas and replicas.num_replicas_in_sync > 1:
            return self._normalize_together(inputs, replicas)
        # The raw operation, because `tf.compat.v1.nn.fused_batch_norm` raises epsilon to 1.001e-5.
        outputs = tf.raw_ops.FusedBatchNormV3(
            x=tf.expand_dims(inputs, 1),  # (batch, 1, steps, channels)
            scale=tf.cast(self.gamma, tf.float32),
            offset=tf.cast(self.beta, tf.float32),
            mean=[] if train else tf.cast(self.moving_mean, tf.float32),
            variance=[] if train else tf.cast(self.moving_variance, tf.float32),
            epsilon=self.epsilon,
            is_training=train,
        )
        if train:
            self._keep(outputs.batch_mean, outputs.batch_variance)
        return tf.cast(tf.squeeze(outputs.y, 1), self.compute_dtype)

    def _normalize_together(self, inputs, replicas):
        """With the statistics of all replicas' parts, which are of one size."""
        import tensorflow as tf

        def mean_of_all(values):
            return replicas.all_reduce("mean", tf.reduce_mean(values, [0, 1]))

        x = tf.cast(inputs, tf.float32)
        mean = mean_of_all(x)
        variance = mean_of_all(tf.math.squared_difference(x, mean))
        y = tf.nn.batch_normalization(
            x,
            mean,
            variance,
            tf.cast(self.beta, x.dtype),
            tf.cast(self.gamma, x.dtype),
            self.epsilon,
        )
        count = tf.cast(tf.size(x[..., 0]) * replicas.num_replicas_in_sync, x.dtype)
        self._keep(mean, variance * count / (count - 1.0))
        return tf.cast(y, self.compute_dtype)

    def _keep(self, mean, variance) -> None:
        """Move the running statistics towards a batch's."""
        for running, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            running.assign(running * self.momentum + of_batch * (1.0 - self.momentum))
