"""Beam's pool of Python workers at one address: `python worker_pool.py 127.0.0.2:50000`.

On machines of their own that is `python -m apache_beam.runners.worker.worker_pool_main
--service_port=50000`, which listens at all addresses. Task managers must not share a pool: they
number their workers alike, and one would stop the other's.
"""

from __future__ import annotations

import os
import sys
import threading

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils import thread_pool_executor

from pipeline.worker import end_with_parent


def main(address: str) -> None:
    end_with_parent(group=True)  # with its workers
    # Beam starts them as `python`: let that be this one.
    os.environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    server = grpc.server(thread_pool_executor.shared_unbounded_instance())
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(
        BeamFnExternalWorkerPoolServicer(use_process=True), server
    )
    server.add_insecure_port(address)
    server.start()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
