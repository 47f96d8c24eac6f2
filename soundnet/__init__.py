"""SoundNet in use: sound in, categories and embeddings out.

```python
import soundnet
model = soundnet.load_model()                 # the published network; or the path of a .keras file
model.predict("street.mp4")["places"].top(5)  # scenes, every 2.97 s
model.embed("street.mp4").values              # float32 (steps, 256), every 0.37 s
```

Importing this package loads nothing heavy: TensorFlow comes with the first use of `load_model`.
"""

from soundnet.model import Embedding, Prediction, TrainedSoundNet, load_model
from soundnet.weights import WeightsError

__all__ = ["Embedding", "Prediction", "TrainedSoundNet", "WeightsError", "load_model"]
