"""What ends an evaluation with a message instead of a trace."""

from __future__ import annotations


class EvaluationError(Exception):
    """Something can't be judged; the message says why and what to do."""


class DatasetError(EvaluationError):
    """A data set that can't be used; the message says why and what to do."""
