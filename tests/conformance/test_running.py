"""Section 11 of the contract: configuration, logging, running."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from conformance.conftest import TIMEOUT, Model, Server
from penstock.settings import Settings

pytestmark = pytest.mark.xdist_group("conformance_running")  # one server for all of them
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S* \[(DEBUG|INFO|WARNING|ERROR)\] [\w.]+: .+")


def _start_and_fail(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    server = Server(folder, **environment)
    return subprocess.run(
        [sys.executable, "-m", *(command or ("penstock.app",))],
        cwd=folder,
        env=server.environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.mark.row("A219", "A220")
def test_the_defaults_of_the_settings() -> None:
    settings = Settings()

    assert settings.llm_endpoint == "http://localhost:11434/api/generate"
    assert settings.llm_api_key.get_secret_value() == ""
    assert (settings.llm_model, settings.host, settings.port) == ("llama3", "127.0.0.1", 8000)
    assert Settings.model_fields["database_path"].default == Path("data/qa_records.db")
    assert settings.debug is False


@pytest.mark.row("A221")
@pytest.mark.parametrize(
    ("value", "on"), [("true", True), ("1", True), ("YES", True), ("no", False), ("", False), ("on", False)]
)
def test_the_values_that_enable_debugging(value: str, on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBUG", value)

    assert Settings().debug is on


@pytest.mark.row("A222")
def test_a_dot_env_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LLM_MODEL=from-the-file\nPORT=8123\n")

    assert (Settings().llm_model, Settings().port) == ("from-the-file", 8123)


@pytest.mark.row("A229")
def test_tests_use_their_own_database() -> None:
    assert os.environ["DATABASE_PATH"] == "data/test_qa_records.db"
    assert Settings().database_path != Settings.model_fields["database_path"].default


@pytest.mark.row("A16", "A223")
def test_log_lines_have_one_format_and_each_block_has_a_line(server: Server) -> None:
    number = server.create({"type": "SlowBlock"}, {"type": "ValidatorBlock"}, {"type": "SlowBlock"})

    trace_id = server.execute(number, {"text": "x"}).json()["trace_id"]

    log = server.wait_for_log(f"[{trace_id}] Pipeline")
    lines = [line for line in log.splitlines() if trace_id in line]
    assert all(LINE.fullmatch(line) for line in log.splitlines())
    finished = [
        line
        for line in lines
        if re.search(rf"\[DEBUG\] [\w.]+: \[{trace_id}\] \w+ completed in \d+\.\d{{3}}s$", line)
    ]
    assert len(finished) == 3
    assert len(lines) >= 3 + 2


@pytest.mark.row("A224")
def test_a_failure_is_logged_with_trace_id_and_step(server: Server) -> None:
    number = server.create({"type": "SlowBlock"}, {"type": "BoomBlock"})

    server.execute(number, {})

    log = server.wait_for_log("Connection timeout")
    assert re.search(r"\[ERROR\] [\w.]+: \[[0-9a-f-]{36}\] step 2: .*Connection timeout", log)


@pytest.mark.row("A226")
def test_health(client: httpx.Client) -> None:
    answer = client.get("/health")

    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})


@pytest.mark.row("A227")
def test_the_api_describes_itself(client: httpx.Client) -> None:
    page, openapi = client.get("/docs"), client.get("/openapi.json")

    assert page.status_code == 200
    assert "/api/pipelines/{pipeline_id}/execute" in openapi.json()["paths"]


@pytest.mark.row("A228", "D17")
@pytest.mark.parametrize("path", ["/", "/review", "/pipelines"])
def test_a_browser_gets_a_page_at_every_route_of_the_front_end(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"accept": "text/html"})

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


def test_the_database_is_where_the_settings_say(server: Server) -> None:
    assert Path(server.environment["DATABASE_PATH"]).is_file()


@pytest.mark.row("D9")
def test_an_address_that_others_can_reach_needs_a_token(tmp_path: Path) -> None:
    ended = _start_and_fail(tmp_path, HOST="0.0.0.0")

    assert ended.returncode == 2
    assert "API_TOKEN" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.row("D9")
def test_the_command_refuses_the_same(tmp_path: Path) -> None:
    ended = _start_and_fail(tmp_path, "penstock", "serve", "--host", "0.0.0.0", "--port", "0")

    assert ended.returncode == 2
    assert "API_TOKEN" in ended.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"PORT": "-1"},
        {"PORT": "many"},
        {"DATABASE_URL": "mysql://x/y"},
        {"HOST": "no.such.host.invalid", "API_TOKEN": "t" * 20},
    ],
)
def test_a_setting_that_cannot_be_used_is_one_sentence(tmp_path: Path, environment: dict[str, str]) -> None:
    ended = _start_and_fail(tmp_path, **environment)

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("Error: ")


def test_a_port_that_is_taken_is_one_sentence(server: Server, tmp_path: Path) -> None:
    ended = _start_and_fail(tmp_path, PORT=server.url.rpartition(":")[2])

    assert ended.returncode == 2
    assert "PORT" in ended.stderr


@pytest.mark.row("A225")
def test_without_debugging_an_execution_logs_only_its_start_and_end(provider: Model, tmp_path: Path) -> None:
    server = Server(
        tmp_path, LLM_ENDPOINT=provider.server.url, LLM_MODEL="gpt-x", API_TOKEN="open-sesame-42"
    ).start()
    try:
        refused = server.client.get("/api/pipelines")
        server.client.headers["authorization"] = "Bearer open-sesame-42"
        number = server.create({"type": "TextGenerator", "config": {"user_prompt": "hi"}})
        trace_id = server.execute(number, {}).json()["trace_id"]
        log = server.wait_for_log(f"[{trace_id}] Pipeline")
    finally:
        status = server.stop()

    assert refused.status_code == 401
    lines = [line for line in log.splitlines() if trace_id in line]
    assert ["[INFO]" in line for line in lines] == [True, True]
    assert "open-sesame-42" not in server.log.read_text()
    assert status == 0
