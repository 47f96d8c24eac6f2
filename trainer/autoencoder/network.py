"""A convolutional autoencoder over waveforms: SoundNet-8's first layers, and what undoes them.

The paper's (Aytar, Vondrick, Torralba 2016, section 4; from memory) has eight layers: SoundNet's
first four convolutions as the encoder, and as the decoder four fractionally strided ones, trained
with the mean squared error; deeper ones did worse. Nothing more of its decoder is known; here it
mirrors the encoder's table.

| decoder | undoes         | filters | kernel | stride | steps for 20 s |
|---------|----------------|---------|--------|--------|----------------|
| up4     | conv4          | 64      | 8      | 2      | 862            |
| up3     | conv3          | 32      | 16     | 2      | 1,722          |
| up2     | conv2 and pool2| 16      | 32     | 16     | 27,562         |
| up1     | conv1 and pool1| 1       | 64     | 16     | 441,000        |

Behind each but the last come batch normalization and ReLU, as in SoundNet. The last begins with
weights 0, so that a fresh network is silent: with random ones it first learns to be so, and then is
for a long time.

With another bottleneck than conv4 there are more: up5 undoes conv5 (kernel 4, stride 2), or conv5
and pool5 (kernel 8, stride 8: a kernel is at least as long as its stride, or some steps would be
told nothing).
"""

from __future__ import annotations

from collections.abc import Iterable

import keras
from keras import ops

from schemas.waveform import WAVEFORM_PEAK
from trainer.autoencoder.config import BOTTLENECKS
from trainer.layers import BatchNormalization
from trainer.network import SOUNDNET8, Architecture, Layer, Untracked, hidden_layers


@keras.saving.register_keras_serializable(package="soundnet")
class Upsampling(keras.layers.Layer):
    """A convolution of stride 2, and the pooling behind it where there is one, undone.

    Args:
        kernel, stride: of the fractionally strided convolution.
        padding: steps that the convolution put before its inputs; as many are cut off.
        deviation: of the first weights, around 0.
    """

    def __init__(
        self,
        filters: int,
        kernel: int,
        stride: int,
        padding: int,
        deviation: float = 0.01,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.settings = {
            "filters": filters,
            "kernel": kernel,
            "stride": stride,
            "padding": padding,
            "deviation": deviation,
        }
        self.convolution = keras.layers.Conv1DTranspose(
            filters,
            kernel,
            stride,
            kernel_initializer=keras.initializers.RandomNormal(0.0, deviation),
        )

    def build(self, inputs_shape, undone_shape) -> None:
        self.convolution.build(inputs_shape)

    def compute_output_spec(self, inputs, undone):
        shape = (*undone.shape[:2], self.settings["filters"])
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def call(self, inputs, undone):
        """(batch, steps, channels) to (batch, as many steps as `undone` has, filters)."""
        x = self.convolution(inputs)
        # What pooling left over at the end is less than two of its steps.
        x = ops.pad(x, [[0, 0], [0, 2 * self.settings["stride"]], [0, 0]])
        start = self.settings["padding"]
        return x[:, start : start + ops.shape(undone)[1]]

    def get_config(self) -> dict:
        return super().get_config() | self.settings


@keras.saving.register_keras_serializable(package="soundnet")
class Autoencoder(keras.Model):
    """A waveform in, the same waveform out, through a bottleneck.

    Call it with float32 (batch, samples), -256..256, 22,050 Hz, mono, of any length from
    `architecture.min_samples(bottleneck)` on; it gives the like. The encoder's layers are called as
    in `trainer.network.SoundNet` and begin as they do.

    Args:
        bottleneck: the layer of SoundNet-8 with which the encoder ends.
    """

    def __init__(self, bottleneck: str = "conv4", **kwargs) -> None:
        if bottleneck not in BOTTLENECKS:
            raise ValueError(
                f"the bottleneck is {bottleneck!r}; choose one of {', '.join(BOTTLENECKS)}"
            )
        table = SOUNDNET8.table[: SOUNDNET8.names.index(bottleneck) + 1]
        waveform = keras.Input((None,), name="waveform")
        activations = hidden_layers(waveform, table)
        x, rest = activations[bottleneck], list(table)
        while rest:
            pool = rest.pop() if rest[-1].filters is None else None
            row = rest.pop()
            undone = activations[rest[-1].name] if rest else ops.expand_dims(waveform, -1)
            x = _undo(row, pool, undone, deviation=0.01 if rest else 0.0)(x, undone)
            if rest:
                gamma = keras.initializers.RandomNormal(1.0, 0.02)
                x = BatchNormalization(gamma_initializer=gamma, name=f"up_bn{row.name[4:]}")(x)
                x = keras.layers.ReLU(name=f"up_relu{row.name[4:]}")(x)
        kwargs.setdefault("name", "autoencoder")
        super().__init__(inputs=waveform, outputs=WAVEFORM_PEAK * ops.squeeze(x, -1), **kwargs)
        self.bottleneck = bottleneck
        self._activations = Untracked(activations)

    @property
    def architecture(self) -> Architecture:
        """The table of the encoder's layers."""
        return Architecture(SOUNDNET8.table[: SOUNDNET8.names.index(self.bottleneck) + 1])

    @property
    def heads(self) -> dict[str, tuple[str, ...]]:
        """None: it names nothing."""
        return {}

    @property
    def embeddings(self) -> frozenset[str]:
        """The heads whose outputs are embeddings: none."""
        return frozenset()

    def features(self, layers: Iterable[str]) -> keras.Model:
        """A network, of the same weights, that gives what the encoder's layers compute.

        Returns:
            A model: waveform (batch, samples) in, by the name of the layer float32 (batch, steps,
            channels) out.

        Raises:
            ValueError: no such layer.
        """
        layers = tuple(layers)
        if strange := set(layers) - set(self.architecture.names):
            known = ", ".join(self.architecture.names)
            raise ValueError(f"no layer {min(strange)!r}; choose among {known}")
        outputs = {layer: self._activations.items[layer] for layer in layers}
        return keras.Model(self.inputs[0], outputs, name=f"{self.name}_features")

    def get_config(self) -> dict:
        return {"name": self.name, "bottleneck": self.bottleneck}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> Autoencoder:
        return cls(**config)


def _undo(row: Layer, pool: Layer | None, undone, deviation: float) -> Upsampling:
    stride = row.stride * (pool.stride if pool else 1)
    return Upsampling(
        undone.shape[-1],
        max(row.kernel, stride),
        stride,
        row.padding,
        deviation,
        name=f"up{row.name[4:]}",
    )
