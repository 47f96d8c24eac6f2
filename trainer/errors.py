"""The error of a training that can't go on."""


class TrainingError(RuntimeError):
    """The training can't go on; the message says why and what to do."""
