"""The graphs as they are handed to Dataflow: built, staged to an emulated Cloud Storage, run."""

from __future__ import annotations

import dataclasses
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator

import apache_beam as beam
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pipeline import graph
from pipeline.build import build
from pipeline.store import PLAN, QUEUE, Store
from schemas.clip import ClipRecord
from tests.pipeline.emulators import google_storage
from tests.pipeline.test_build import SETTINGS, records, rows_of

IMAGE = "europe-west4-docker.pkg.dev/a-project/images/soundnet:1"
OPTIONS = [  # those of docs/clusters.md
    *("--runner", "DataflowRunner", "--project", "a-project", "--region", "europe-west4"),
    *("--temp_location", "gs://bucket/tmp", "--staging_location", "gs://bucket/staging"),
    *("--sdk_container_image", IMAGE, "--sdk_location", "container"),
    *("--machine_type", "n2-standard-4", "--disk_size_gb", "50", "--max_num_workers", "50"),
    *("--autoscaling_algorithm", "THROUGHPUT_BASED", "--number_of_worker_harness_threads", "1"),
    *(
        "--service_account_email",
        "soundnet@a-project.iam.gserviceaccount.com",
        "--no_use_public_ips",
    ),
]


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    with google_storage() as url:
        yield url


def staged(url: str) -> bytes:
    """A file that the job names, in either way in which Google writes such an address."""
    path = url.removeprefix("storage.googleapis.com/").removeprefix("gs://")
    with FileSystems.open(f"gs://{path}", compression_type="uncompressed") as file:
        return file.read()


@pytest.mark.parametrize(("name", "queue"), [("read", QUEUE), ("pack", PLAN)])
def test_what_is_handed_to_dataflow(storage, name, queue):
    store = Store("gs://bucket/data")
    store.write(store.work(queue), b"{}\n")
    options = [*OPTIONS, "--no_auth", "--template_location", f"gs://bucket/{name}.json"]
    pipeline = beam.Pipeline(options=PipelineOptions(options))
    if name == "read":
        graph.read_videos(pipeline, SETTINGS, store)
    else:
        graph.pack(pipeline, store)
    pipeline.run()

    job = json.loads(staged(f"gs://bucket/{name}.json"))
    assert job["type"] == "JOB_TYPE_BATCH"
    (workers,) = job["environment"]["workerPools"]
    assert workers["workerHarnessContainerImage"] == IMAGE
    assert [image["containerImage"] for image in workers["sdkHarnessContainerImages"]] == [IMAGE]
    assert workers["autoscalingSettings"] == {
        "algorithm": "AUTOSCALING_ALGORITHM_BASIC",
        "maxNumWorkers": 50,
    }
    assert (workers["machineType"], workers["diskSizeGb"]) == ("n2-standard-4", 50)
    assert workers["numThreadsPerWorker"] == 1
    assert workers["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert job["environment"]["serviceAccountEmail"].startswith("soundnet@")
    for package in workers["packages"]:
        assert staged(package["location"])

    told = job["environment"]["sdkPipelineOptions"]["options"]
    proto = api.Pipeline.FromString(staged(told["pipelineUrl"]))
    steps = {transform.unique_name for transform in proto.components.transforms.values()}
    if name == "read":
        assert {"ListLanes", "SpreadLanes", "ReadLanes", "Ask_imagenet", "WriteClips"} <= steps
    else:
        assert {"ListShards", "SpreadShards", "WriteShards", "OneLedger", "WriteLedger"} <= steps
    for environment in proto.components.environments.values():
        assert api.DockerPayload.FromString(environment.payload).container_image == IMAGE


class Service(http.server.BaseHTTPRequestHandler):
    """Answers what the command asks of Dataflow, and runs a job from what was staged for it, with
    Beam's local runner in place of the workers' containers."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":
            return self._answer({"access_token": "none", "expires_in": 3600})
        job = json.loads(body)
        job |= {"id": f"job-{len(self.server.jobs)}", "currentState": "JOB_STATE_RUNNING"}
        self.server.jobs[job["id"]] = job
        self._answer(job)
        threading.Thread(target=self._run_job, args=(job,), daemon=True).start()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].split("/jobs/")[1].split("/")
        self._answer(self.server.jobs[path[0]] if len(path) == 1 else {})

    def _run_job(self, job: dict) -> None:
        state = "JOB_STATE_FAILED"
        try:
            told = job["environment"]["sdkPipelineOptions"]["options"]
            proto = api.Pipeline.FromString(staged(told["pipelineUrl"]))
            for environment in proto.components.environments.values():
                environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
            result = FnApiRunner().run_via_runner_api(proto, PipelineOptions([]))
            if result.wait_until_finish() == "DONE":
                state = "JOB_STATE_DONE"
        finally:
            job["currentState"] = state

    def _answer(self, what: dict) -> None:
        data = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def service(tmp_path, monkeypatch) -> Iterator[http.server.ThreadingHTTPServer]:
    """A stand-in for Dataflow and for Google's tokens, with a key that it takes."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.jobs, server.url = {}, f"http://localhost:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {
        "type": "service_account",
        "project_id": "a-project",
        "client_email": "tests@a-project.iam.gserviceaccount.com",
        "private_key": key.decode(),
        "token_uri": f"{server.url}/token",
    }
    (tmp_path / "key.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_the_command_with_dataflow_gives_the_records_of_the_local_runner(
    storage, service, videos, tmp_path
):
    """As far as there is no cloud: the workers are this machine's."""
    summary = build(rows_of(videos), [], str(tmp_path / "here"), SETTINGS)
    store = Store("gs://bucket/there")
    lines = []
    for path in sorted(videos.iterdir()):
        store.write(store.path("videos", path.name), path.read_bytes())
        lines.append(json.dumps({"url": store.path("videos", path.name), "id": path.stem}))
    store.write(store.path("list.jsonl"), "\n".join(lines).encode())
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pipeline", "--input", store.path("list.jsonl")),
            *("--output", store.root, "--validation-share", "0", "--exact-frames"),
            *("--lanes", "2", *OPTIONS, "--dataflow_endpoint", service.url),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [job["currentState"] for job in service.jobs.values()] == ["JOB_STATE_DONE"] * 2

    there = tmp_path / "there"
    there.mkdir()
    for name in store.list(store.root):
        (there / name).write_bytes(store.read(store.path(name)))
    expected = records(tmp_path / "here")
    assert len(expected) == 4
    found = records(there)
    assert found.keys() == expected.keys()
    for name, data in found.items():
        url = ClipRecord.from_bytes(expected[name]).url
        record = dataclasses.replace(ClipRecord.from_bytes(data), url=url)
        assert record.to_bytes() == expected[name]
    rows = [json.loads(line) for line in (there / "ledger-00000.jsonl").read_text().splitlines()]
    assert {row["video_id"]: row["cause"] for row in rows} == {
        name: row.cause for name, row in summary.rows.items()
    }
