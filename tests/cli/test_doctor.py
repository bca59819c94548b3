"""``penstock doctor``."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from cli.conftest import Cli
from penstock.storage import pipelines
from penstock.storage.database import Storage
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


def test_the_doctor_names_what_is_damaged_and_repairs_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        'name: P\nblocks:\n  - type: TextGenerator\n    config: {user_prompt: "{{ text }}"}\n'
    )
    (tmp_path / "s.jsonl").write_text("".join(f'{{"text": "seed {n}"}}\n' for n in range(5)))
    arguments = ["run", tmp_path / "p.yaml", tmp_path / "s.jsonl", "-o", tmp_path / "o.jsonl", "-q"]
    assert cli(*arguments).status == 0
    database = sqlite3.connect(os.environ["DATABASE_PATH"])
    database.execute("UPDATE records SET state = '{bad' WHERE seed = 3")
    database.execute("UPDATE journal SET value = '{}' WHERE key = (SELECT key FROM journal LIMIT 1)")
    database.commit()
    database.close()

    exported = cli("export", "1", "-o", tmp_path / "x.jsonl")
    found, repaired = cli("doctor"), cli("doctor", "--repair")
    again = cli(*arguments, "--retry-failed")
    after = cli("doctor")

    assert exported.status == 1
    assert "of job 1 (3.0) is damaged in the database and was left out" in exported.err
    assert len((tmp_path / "x.jsonl").read_text().splitlines()) == 4
    assert (found.status, repaired.status, after.status) == (1, 1, 0)
    assert "1 damaged record (" in found.out
    assert "penstock doctor --repair" in found.out
    assert "1 call cannot be read; each is made again when a run needs it" in found.out
    assert "1 of them are failed records now" in repaired.out
    assert again.status == 0
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 5


def test_the_doctor_says_that_the_file_is_damaged(cli: Cli, tmp_path: Path) -> None:
    assert cli("doctor").status == 0
    path = Path(os.environ["DATABASE_PATH"])
    asyncio.run(_fill(path))
    content = bytearray(path.read_bytes())
    content[8192 * 3 + 8 : 8192 * 3 + 64] = b"\xff" * 56
    path.write_bytes(content)

    done = cli("doctor")

    assert done.status == 1
    assert "restore it from a copy" in done.out
    assert "Traceback" not in done.out + done.err


async def _fill(path: Path) -> None:
    async with Storage(path) as storage, storage.session() as session:
        for _ in range(50):
            await pipelines.save_pipeline(session, "P", {"name": "P", "blocks": ["x" * 2000]})


def test_a_model_whose_key_is_missing_is_said(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLM_ENDPOINT")
    monkeypatch.delenv("LLM_API_KEY")
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    monkeypatch.setenv("LLM_MODEL", "deepseek/deepseek-chat")

    printed = cli("doctor")

    assert printed.status == 1
    assert "The provider deepseek needs an API key: set LLM_API_KEY or DEEPSEEK_API_KEY." in printed.out
