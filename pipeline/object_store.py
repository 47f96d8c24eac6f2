"""What lies in object stores (gs://, s3://): how they are found, and copied from."""

from __future__ import annotations

import threading
import types
from collections.abc import Sequence
from pathlib import Path

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from media import Limits
from pipeline.downloads.download import MACHINE_ERRORS, DownloadError, Fetched

_BLOCK = 1 << 20


def set_options(beam_args: Sequence[str]) -> None:
    """Have Beam's filesystems know what Beam's options say of them: an object store's address."""
    FileSystems.set_options(PipelineOptions(list(beam_args)))
    _keep_s3_sessions()


def _keep_s3_sessions() -> None:
    """Have Beam make one boto3 session a thread: it makes one for every operation on s3://, which
    takes 0.1 s of processor time, eight times what the rest of the operation takes."""
    try:
        import boto3
        from apache_beam.io.aws.clients.s3 import boto3_client
    except ImportError:
        return  # Beam refuses s3:// paths in its own words
    threads = threading.local()

    def session():
        if not hasattr(threads, "session"):
            threads.session = boto3.session.Session()
        return threads.session

    boto3_client.boto3 = types.SimpleNamespace(session=types.SimpleNamespace(Session=session))


def copy_in(path: str, folder: str, limits: Limits) -> Fetched:
    """Copy a video from an object store into a local folder.

    Raises:
        DownloadError: there is no such object, it is larger than the limit, the store refused or
            failed.
        OSError: the disk here is full or can't be written.
    """
    target = Path(folder) / ("media" + Path(path).suffix)
    try:
        with (
            FileSystems.open(path, compression_type="uncompressed") as file,
            target.open("wb") as to,
        ):
            while block := file.read(_BLOCK):
                to.write(block)
                if to.tell() > limits.max_bytes:
                    raise DownloadError("too_large", f"{path}: more than {limits.max_bytes} bytes")
            return Fetched(str(target), 0.0, to.tell())
    except DownloadError:
        raise
    except Exception as error:  # each store has errors of its own
        if isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
            raise
        code = getattr(error, "code", None)
        if isinstance(error, FileNotFoundError) or code == 404:
            cause = "not_found"
        else:
            cause = "private" if code in (401, 403) else "network"
        raise DownloadError(cause, f"{path}: {type(error).__name__}: {error}") from error
