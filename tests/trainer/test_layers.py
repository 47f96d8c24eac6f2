"""The layers and the optimizer against Keras's own; the normalization against the formula too."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.layers import FEW_STEPS, Adam, BatchNormalization, Conv1D

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="on other backends they are Keras's own"
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


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("steps", "channels", "filters", "size"),
    [
        (1_000, 1, 16, 64),  # conv1
        (1_001, 1, 16, 64),
        (1_003, 1, 16, 64),
        (301, 16, 32, 32),  # conv2
        (302, 16, 32, 32),
        (64, 1, 16, 64),  # one output
        (70, 5, 12, 7),  # a number of filters that doesn't divide 64
        (300, 8, 64, 16),  # conv3
        (14, 20, 30, 8),  # conv8: few steps
        (2 * FEW_STEPS + 2, 20, 30, 4),
        (2 * FEW_STEPS + 4, 20, 30, 4),
    ],
)
def test_convolutions_and_their_gradients_are_those_of_keras(dtype, steps, channels, filters, size):
    random = np.random.default_rng(0)
    x = tf.constant(random.normal(size=(3, steps, channels)), "float32")
    ours = Conv1D(filters, size, 2, dtype=dtype)
    theirs = keras.layers.Conv1D(filters, size, 2, dtype=dtype)
    for layer in (ours, theirs):
        layer.build((None, None, channels))
        layer.set_weights(
            [np.random.default_rng(1).normal(size=w.shape) / size for w in layer.weights]
        )

    @tf.function(autograph=False)
    def results(layer):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.cast(layer(x, training=True), "float32")
            loss = tf.reduce_sum(y * weigh)
        return [y, *tape.gradient(loss, [x, *layer.trainable_weights])]

    weigh = random.normal(size=(3, (steps - size) // 2 + 1, filters)).astype("float32")
    tolerance = 1e-5 if dtype == "float32" else 5e-2
    for found, expected in zip(results(ours), results(theirs), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=tolerance * scale)


def test_a_sound_of_any_length_is_heard_by_one_function():
    layer = Conv1D(16, 64, 2)
    layer.build((None, None, 1))
    theirs = keras.layers.Conv1D(16, 64, 2)
    theirs.build((None, None, 1))
    theirs.set_weights(layer.get_weights())
    listen = tf.function(layer, input_signature=[tf.TensorSpec([None, None, 1])], autograph=False)
    for steps in (64, 1_001):
        x = np.random.default_rng(0).normal(size=(2, steps, 1)).astype("float32")
        np.testing.assert_allclose(listen(x), theirs(x), atol=1e-5)


def test_adam_is_kerass():
    variables = []
    for kind in (Adam, keras.optimizers.Adam):
        weight = keras.Variable(np.linspace(-1, 1, 60).reshape(6, 10), name="weight")
        optimizer = kind(0.01, 0.8, 0.99, 1e-8)
        optimizer.build([weight])
        random = np.random.default_rng(0)
        for step in range(5):
            gradient = random.normal(size=(6, 10)) * 10.0 ** random.integers(-6, 3, (6, 10))
            optimizer.apply([tf.constant(gradient, "float32")], [weight])
            assert int(optimizer.iterations) == step + 1
        variables.append([weight, *optimizer.variables])
    ours, theirs = variables
    assert [v.path.split("/", 1)[-1] for v in ours] == [v.path.split("/", 1)[-1] for v in theirs]
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-7)
