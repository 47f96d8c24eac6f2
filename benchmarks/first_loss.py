"""The loss of a fresh network on real records, beside the published formula in NumPy.

    python -m benchmarks.first_loss --data data

The network's outputs and the targets are taken as they are; what is compared is how they become
one number. `entropy` is what the targets' own softness takes off: with one-hot targets a uniform
prediction gives `uniform_one_hot`, with these targets `uniform`.
"""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from benchmarks import machine
from trainer import data, losses
from trainer.config import Config
from trainer.network import SoundNet


def published(targets: dict[str, np.ndarray], logits: dict[str, np.ndarray]) -> float:
    """Torch's DistKLDivCriterion per label step and teacher, their mean, times 250 (float64)."""
    terms = []
    for name, p in targets.items():
        z = logits[name].astype(np.float64)
        log_q = z - z.max(-1, keepdims=True)
        log_q -= np.log(np.exp(log_q).sum(-1, keepdims=True))
        for step in range(p.shape[1]):
            some = p[:, step] > 0
            kl = p[:, step][some] * (np.log(p[:, step][some]) - log_q[:, step][some])
            terms.append(kl.sum() / p[:, step].size)
    return 250 * float(np.mean(terms))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.first_loss",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="a data set that the pipeline made")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="JSON file; printed too")
    args = parser.parse_args()
    runs = []
    for seed in range(args.seeds):
        config = Config(data=args.data, model_dir="", batch_size=args.batch_size, seed=seed)
        info = data.usable_info(config)
        keras.utils.set_random_seed(seed + 1)  # 0 means none to TensorFlow
        model = SoundNet(8, {t.name: t.classes for t in info.teachers})
        batch = next(iter(data.train_batches(config, info)))
        logits = model(batch["waveform"], training=True)
        loss, terms = losses.distillation_loss(batch["probs"], logits)
        targets = {name: p.numpy().astype(np.float64) for name, p in batch["probs"].items()}
        outputs = {name: z.numpy() for name, z in logits.items()}
        flat = {name: np.zeros_like(z) for name, z in outputs.items()}
        formula = published(targets, outputs)
        runs.append(
            {
                "seed": seed,
                "loss": float(loss),
                "formula": formula,
                "difference": abs(float(loss) - formula),
                **{f"loss/{name}": float(term) for name, term in terms.items()},
                "uniform": published(targets, flat),
                "entropy": {
                    name: float(-(p * np.log(np.maximum(p, 1e-30))).sum(-1).mean())
                    for name, p in targets.items()
                },
            }
        )
    classes = {t.name: len(t.classes) for t in info.teachers}
    one_hot = 250 * np.mean([math.log(n) / n for n in classes.values()])
    result = {
        "classes": classes,
        "uniform_one_hot": float(one_hot),
        "runs": runs,
    }
    machine.report(result, args.output)


if __name__ == "__main__":
    main()
