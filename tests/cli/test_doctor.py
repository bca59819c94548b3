"""``penstock doctor``."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Cli
from penstock.testing import ModelServer


def test_the_doctor_lists_what_is_set_up(cli: Cli) -> None:
    printed, as_json = cli("doctor"), cli("doctor", "--json")

    assert printed.status == 0
    assert "gpt-x at http://127.0.0.1" in printed.out
    assert {"Python", "Model", "Database", "Blocks"} <= {check["name"] for check in as_json.json}


def test_the_doctor_calls_the_model_with_ask(cli: Cli, model: ModelServer) -> None:
    done = cli("doctor", "--ask")

    assert done.status == 0
    assert "gpt-x answered in" in done.out
    assert len(model.requests) == 1


def test_a_broken_database_and_a_broken_block_are_missing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "user_blocks").mkdir()
    (tmp_path / "user_blocks" / "bad.py").write_text("import nothing_of_that_name")
    (tmp_path / "no_database").write_text("this is not SQLite, and long enough to be read" * 50)
    monkeypatch.setenv("DATABASE_PATH", str(tmp_path / "no_database"))

    done = cli("doctor", "--json")

    missing = {check["name"] for check in done.json if check["state"] == "missing"}
    assert done.status == 1
    assert missing == {"Database", "Blocks"}


def test_a_model_whose_key_is_missing_is_said(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLM_ENDPOINT")
    monkeypatch.delenv("LLM_API_KEY")
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    monkeypatch.setenv("LLM_MODEL", "deepseek/deepseek-chat")

    printed = cli("doctor")

    assert printed.status == 1
    assert "The provider deepseek needs an API key: set LLM_API_KEY or DEEPSEEK_API_KEY." in printed.out
