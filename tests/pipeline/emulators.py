"""Object stores on this machine, to which Beam's filesystems are led by the environment."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import boto3
import pytest
from apache_beam.internal.gcp import auth
from gcp_storage_emulator.server import create_server
from moto.server import ThreadedMotoServer


@contextlib.contextmanager
def amazon_storage() -> Iterator[str]:
    """The address of an S3 with a bucket `bucket`; keys for it are in the environment."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "none")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3", endpoint_url=url).create_bucket(Bucket="bucket")
        yield url
    server.stop()


@contextlib.contextmanager
def google_storage() -> Iterator[str]:
    """The address of a Cloud Storage with a bucket `bucket`, for this process and its children."""
    with (
        pytest.MonkeyPatch.context() as patch,
        create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket") as server,
    ):
        url = f"http://127.0.0.1:{server._api._httpd.server_port}"
        patch.setenv("STORAGE_EMULATOR_HOST", url)
        # Beam looks for credentials for half a minute before it does without.
        patch.setattr(auth._Credentials, "_credentials_init", True)
        yield url
