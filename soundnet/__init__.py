"""SoundNet in use: sound in, categories and embeddings out.

```python
import soundnet
model = soundnet.load_model()                 # the published network; or the path of a .keras file
model.predict("street.mp4")["places"].top(5)  # scenes, every 2.97 s
model.embed("street.mp4").values              # float32 (steps, 256), every 0.37 s
```

Importing this package loads nothing: NumPy comes with the first name that is asked of it,
TensorFlow with the first use of `load_model`.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from soundnet.model import Embedding, Prediction, TrainedSoundNet, load_model
    from soundnet.pooling import Windows, pool
    from soundnet.weights import WeightsError

__all__ = [
    "Embedding",
    "Prediction",
    "TrainedSoundNet",
    "WeightsError",
    "Windows",
    "load_model",
    "pool",
]

_FROM = {"Windows": "pooling", "pool": "pooling", "WeightsError": "weights"}


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module 'soundnet' has no attribute {name!r}")
    return getattr(importlib.import_module(f"soundnet.{_FROM.get(name, 'model')}"), name)
