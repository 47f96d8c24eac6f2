"""The fused batch normalization against Keras's own and against the formula."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.layers import BatchNormalization

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="on other backends the layer is Keras's own"
)


def layers(channels: int = 5, **settings) -> tuple:
    """Ours and Keras's, with the same weights."""
    ours = BatchNormalization(**settings)
    theirs = keras.layers.BatchNormalization(epsilon=1e-5, momentum=0.9, **settings)
    random = np.random.default_rng(1)
    weights = [random.uniform(0.5, 2, channels) for _ in range(4)]
    for layer in (ours, theirs):
        layer.build((None, None, channels))
        layer.set_weights(weights)
    return ours, theirs


def batch(dtype: str = "float32") -> tf.Tensor:
    values = np.random.default_rng(0).normal(3, 40, (4, 100, 5))
    return tf.cast(values, dtype)


def test_inference_follows_the_formula():
    ours, _ = layers()
    gamma, beta, mean, variance = ours.get_weights()
    expected = (batch().numpy() - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    np.testing.assert_allclose(ours(batch(), training=False), expected, rtol=1e-4, atol=1e-4)


def test_epsilon_is_exactly_torchs():
    """Keras's default of 1e-3, or TensorFlow's least of 1.001e-5, would show on a tiny variance."""
    ours, _ = layers()
    weights = ours.get_weights()
    weights[3] = np.full(5, 1e-9, "float32")
    ours.set_weights(weights)
    gamma, beta, mean, variance = weights
    expected = (batch().numpy() - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    np.testing.assert_allclose(ours(batch(), training=False), expected, rtol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_gradients_are_those_of_keras(training):
    results = []
    weigh = np.random.default_rng(2).normal(size=(4, 100, 5)).astype("float32")
    for layer in layers():
        x = batch()
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
            loss = tf.reduce_sum(y * weigh)
        gradients = tape.gradient(loss, [x, *layer.trainable_weights])
        results.append([y, *gradients])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_running_statistics_keep_nine_tenths_and_are_unbiased():
    ours, _ = layers()
    _, _, mean, variance = ours.get_weights()
    x = batch().numpy()
    ours(batch(), training=True)
    np.testing.assert_allclose(
        ours.moving_mean, 0.9 * mean + 0.1 * x.mean((0, 1)), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        ours.moving_variance, 0.9 * variance + 0.1 * x.var((0, 1), ddof=1), rtol=1e-4
    )
    frozen = ours.get_weights()
    ours.trainable = False
    ours(batch(), training=True)
    np.testing.assert_array_equal(ours.get_weights()[2], frozen[2])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("training", [True, False])
def test_half_precision_keeps_float32_statistics(dtype, training):
    half, _ = layers(dtype=f"mixed_{dtype}")
    full, _ = layers()
    y = half(batch(dtype), training=training)
    assert y.dtype == dtype
    assert half.moving_mean.dtype == "float32"
    expected = full(tf.cast(batch(dtype), "float32"), training=training)
    np.testing.assert_allclose(tf.cast(y, "float32"), expected, rtol=2e-2, atol=2e-2)
    np.testing.assert_allclose(half.moving_variance, full.moving_variance, rtol=1e-3)


def test_anything_but_batch_steps_channels_is_left_to_keras():
    layer = BatchNormalization()
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    y = layer(x, training=True)
    np.testing.assert_allclose(np.mean(y, 0), 0, atol=1e-6)
