"""SoundNet-8 in PyTorch, as people write it: what `benchmarks.trainer --torch` runs beside ours.

It needs PyTorch and NumPy alone. It is given a folder with `weights.npz` (by our names, in our
shapes), `waveform.npy` and `targets.npz`; writes `logits.npz` and `gradients.npz`, computed from
them; then reads lines, `step` or `forward`, does that, and prints the seconds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

# in, out, kernel, stride, padding, pooling (its stride too)
LAYERS = [
    (1, 16, 64, 2, 32, 8),
    (16, 32, 32, 2, 16, 8),
    (32, 64, 16, 2, 8, 0),
    (64, 128, 8, 2, 4, 0),
    (128, 256, 4, 2, 2, 4),
    (256, 512, 4, 2, 2, 0),
    (512, 1024, 4, 2, 2, 0),
]


class SoundNet8(nn.Module):
    """A waveform (batch, samples) in, by head the logits (batch, classes, steps) out."""

    def __init__(self, heads: dict[str, int]) -> None:
        super().__init__()
        layers = []
        for channels, filters, kernel, stride, padding, pool in LAYERS:
            layers.append(nn.Conv1d(channels, filters, kernel, stride, padding))
            layers.append(nn.BatchNorm1d(filters))
            layers.append(nn.ReLU(inplace=True))
            if pool:
                layers.append(nn.MaxPool1d(pool))
        self.body = nn.Sequential(*layers)
        self.heads = nn.ModuleDict({n: nn.Conv1d(1024, size, 8, 2) for n, size in heads.items()})

    def forward(self, waveform: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.body(waveform[:, None])
        return {name: head(x) for name, head in self.heads.items()}

    def parameters_by_our_names(self) -> dict[str, nn.Parameter]:
        """Our names of weights; kernels are (filters, channels, size) here."""
        convolutions = [layer for layer in self.body if isinstance(layer, nn.Conv1d)]
        norms = [layer for layer in self.body if isinstance(layer, nn.BatchNorm1d)]
        found = {}
        for number, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True), 1):
            found[f"conv{number}/kernel"] = convolution.weight
            found[f"conv{number}/bias"] = convolution.bias
            found[f"bn{number}/gamma"] = norm.weight
            found[f"bn{number}/beta"] = norm.bias
        for name, head in self.heads.items():
            found[f"conv8_{name}/kernel"] = head.weight
            found[f"conv8_{name}/bias"] = head.bias
        return found


def transposed(values: np.ndarray) -> np.ndarray:
    """A kernel from our shape to Torch's or back; other weights as they are."""
    return np.ascontiguousarray(values.T) if values.ndim == 3 else values


def main(folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    weights = dict(np.load(folder / "weights.npz"))
    targets = {name: torch.from_numpy(t) for name, t in np.load(folder / "targets.npz").items()}
    waveform = torch.from_numpy(np.load(folder / "waveform.npy"))
    network = SoundNet8({name: t.shape[-1] for name, t in targets.items()})
    parameters = network.parameters_by_our_names()
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.from_numpy(transposed(weights[name])))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)

    def loss() -> torch.Tensor:
        terms = []
        for name, logits in network(waveform).items():
            student = torch.log_softmax(logits.transpose(1, 2), -1)
            terms.append(
                250 * nn.functional.kl_div(student, targets[name], reduction="none").mean()
            )
        return sum(terms) / len(terms)

    def step() -> None:
        network.train()
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        value.item()

    def forward() -> None:
        network.eval()
        with torch.no_grad():
            network(waveform)

    network.eval()
    with torch.no_grad():
        logits = {name: x.transpose(1, 2).numpy() for name, x in network(waveform).items()}
    np.savez(folder / "logits.npz", **logits)
    network.train()  # from here on the running statistics move
    value = loss()
    value.backward()
    gradients = {name: transposed(p.grad.numpy()) for name, p in parameters.items()}
    np.savez(folder / "gradients.npz", loss=value.item(), **gradients)
    print(torch.__version__, flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        {"step": step, "forward": forward}[line.strip()]()
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
