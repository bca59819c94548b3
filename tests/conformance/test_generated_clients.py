"""Clients that others' generators make from the OpenAPI description do a whole story with the service."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.conftest import TIMEOUT, Server

pytestmark = pytest.mark.xdist_group("conformance_generated_clients")
_TYPESCRIPT = Path(__file__).parent / "typescript"
_ANSWER = "echo: Explain gravity"


def _download_description(server: Server, folder: Path) -> Path:
    file = folder / "openapi.json"
    file.write_bytes(server.client.get("/openapi.json").content)
    return file


@pytest.fixture(scope="module")
def package(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """``package("models")``: a module of the client that openapi-python-client generates."""
    pytest.importorskip("openapi_python_client")
    folder = tmp_path_factory.mktemp("client")
    description = _download_description(server, folder)
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    subprocess.run(
        [*command, "--path", str(description), "--output-path", str(folder / "generated_client")],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield lambda name: importlib.import_module(f"generated_client.{name}")


def test_the_python_client_does_a_whole_story(server: Server, package: Callable[[str], Any]) -> None:
    models, types = package("models"), package("types")
    client = package("client").Client(base_url=server.url, raise_on_unexpected_status=True)

    def call(operation: str, *positional: Any, **named: Any) -> Any:
        return package(f"api.{operation}").sync(*positional, client=client, **named)

    block = {"type": "TextGenerator", "config": {"user_prompt": "Explain {{ topic }}"}}
    definition = models.PipelineBody.from_dict({"name": "P", "blocks": [block]})
    pipeline = call("pipelines.create_pipeline", body=definition)
    seeds = json.dumps([{"metadata": {"topic": "gravity"}}]).encode()
    with_file = models.BodyGenerate(
        file=types.File(payload=seeds, file_name="seeds.json"), pipeline_id=pipeline.id
    )
    started = call("jobs.generate", body=with_file)
    deadline = time.monotonic() + TIMEOUT
    while (job := call("jobs.read_job", started.job_id)).status == "running" or job.status == "queued":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    [record] = call("records.list_records", job_id=job.id)
    edit = models.RecordEdit.from_dict({"status": "accepted"})
    accepted = call("records.update_record", record.id, body=edit)
    export = package("api.exports.export_records").sync_detailed(client=client, job_id=job.id)
    deleted = call("records.delete_records", job_id=job.id)

    assert (job.status, job.records_generated) == ("completed", 1)
    assert record.output == _ANSWER
    assert accepted.success
    assert json.loads(export.content)["status"] == "accepted"
    assert deleted.deleted == 1


def test_the_python_client_uploads_a_pipeline_file(server: Server, package: Callable[[str], Any]) -> None:
    client = package("client").Client(base_url=server.url)
    text = b"name: From a file\nblocks:\n  - type: TextGenerator\n    config: {user_prompt: hi}\n"

    saved = package("api.pipelines.import_pipeline").sync(
        client=client, body=package("types").File(payload=text)
    )

    assert saved.name == "From a file"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
@pytest.mark.skipif(
    not (_TYPESCRIPT / "node_modules").is_dir(),
    reason="`make test` installs its packages where npm is",
)
def test_the_typescript_client_does_a_whole_story(server: Server, tmp_path: Path) -> None:
    description = _download_description(server, tmp_path)
    modules = (_TYPESCRIPT / "node_modules").resolve()
    (tmp_path / "node_modules").symlink_to(modules)
    for name in ("story.ts", "package.json"):
        shutil.copy(_TYPESCRIPT / name, tmp_path)

    def run(*command: str) -> str:
        done = subprocess.run(
            ["node", *command],
            check=False,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=4 * TIMEOUT,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("node_modules/openapi-typescript/bin/cli.js", str(description), "-o", "api.d.ts")
    options = ["--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom"]
    run("node_modules/typescript/bin/tsc", *options, "story.ts")
    told = json.loads(run("story.js", server.url))

    assert (told["status"], told["output"], told["deleted"]) == ("completed", _ANSWER, 1)
    assert json.loads(told["lines"])["status"] == "accepted"
