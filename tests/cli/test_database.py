"""``penstock database copy``."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from filelock import FileLock

from cli.conftest import Cli
from penstock.testing import ModelServer
from support.postgres import postgres, postgres_server

__all__ = ["postgres", "postgres_server"]


@pytest.fixture
def finished(cli: Cli, tmp_path: Path) -> Path:
    """The database of a finished run of five records, in the folder of the test."""
    ask = {"type": "TextGenerator", "config": {"user_prompt": "q {{ n }}"}}
    (tmp_path / "p.yaml").write_text(json.dumps({"name": "P", "blocks": [ask]}))
    (tmp_path / "s.jsonl").write_text("".join(json.dumps({"n": n}) + "\n" for n in range(5)))
    assert cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl").status == 0
    return tmp_path / "data" / "test_qa_records.db"


@pytest.fixture
async def url(postgres: str) -> str:
    """An empty PostgreSQL database."""
    return postgres


def test_a_run_continues_in_the_copy_of_its_database(
    cli: Cli, finished: Path, url: str, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = cli("database", "copy", finished, url)
    back = cli("database", "copy", url, "back.db", "--json")
    calls = len(model.requests)
    for where in (url, "sqlite:///back.db"):
        monkeypatch.setenv("DATABASE_URL", where)
        again = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "--json")
        assert (again.json["records_generated"], again.json["new_records"]) == (5, 0)

    assert there.status == 0
    assert "records: 5 of 5" in there.err
    assert "Copied and counted:" in there.err
    rows = back.json["rows"]
    assert (rows["records"], rows["journal"], rows["jobs"], rows["pipelines"]) == (5, 5, 1, 1)
    assert len(model.requests) == calls


def test_a_copy_replaces_nothing(cli: Cli, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("important notes of mine")
    assert cli("database", "copy", finished, "other.db").status == 0

    refusals = {
        "is not empty; copy into a new database": cli("database", "copy", finished, "other.db"),
        "exists and is no database": cli("database", "copy", finished, "notes.txt"),
        "are the same database": cli("database", "copy", finished, finished),
        "There is no database nothing.db": cli("database", "copy", "nothing.db", "new.db"),
    }

    for sentence, refused in refusals.items():
        assert refused.status == 2
        assert sentence in refused.err
    assert (tmp_path / "notes.txt").read_text() == "important notes of mine"
    assert not (tmp_path / "nothing.db").exists()
    assert not (tmp_path / "new.db").exists()


def test_a_password_is_not_shown(cli: Cli, finished: Path) -> None:
    refused = cli("database", "copy", finished, "postgresql://me:hidden-word@127.0.0.1:1/db")

    assert refused.status == 2
    assert "postgresql://me:***@127.0.0.1:1/db" in refused.err
    assert "hidden-word" not in refused.err + refused.out


def test_a_database_on_which_a_run_works_is_not_copied(cli: Cli, finished: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(finished)
    connection.execute("UPDATE jobs SET holder = 'penstock run, process 7 on here'")
    connection.commit()
    connection.close()
    with FileLock(finished.with_name(f"{finished.name}.claims") / "job-1.lock"):
        refused = cli("database", "copy", finished, "new.db")
    released = cli("database", "copy", finished, "new.db")

    assert refused.status == 2
    assert "Job 1 is already running in another process: penstock run, process 7 on here." in refused.err
    assert released.status == 0
