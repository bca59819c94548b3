"""``penstock demo``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Cli
from penstock.testing import Answer, ModelServer, last_user_message, refusal
from support.runs import read_lines


def answer_from_the_sentence(body: dict[str, Any]) -> Answer:
    """A correct question for each sentence that ends with "in" and a year, a useless one for others."""
    sentence = re.findall(r"Sentence: (.+)", last_user_message(body))[-1]
    found = re.match(r"(?P<who>[A-Z]\w+ [A-Z]\w+) (?P<what>.+) in \d{4}\.$", sentence)
    if found is None:
        return '{"question": "What is it about?", "answer": "nothing [/red] of the kind"}'
    return f'{{"question": "Who {found["what"]}?", "answer": "{found["who"]}"}}'


def test_the_demo_shows_what_was_accepted_what_was_refused_and_what_to_do_next(
    cli: Cli, model: ModelServer, tmp_path: Path
) -> None:
    model.answer = answer_from_the_sentence

    done = cli("demo")

    lines = read_lines(tmp_path / "demo" / "qa.jsonl")
    refused = read_lines(tmp_path / "demo" / "qa.failed.jsonl")
    assert done.status == 0
    assert lines
    assert refused
    assert len(lines) + len(refused) == 25
    assert f"{len(lines)} of 25 sentences became a record" in done.out
    assert "Alexander Fleming" in done.out
    assert "Refused" in done.out
    assert "nothing [/red] of the kind" in " ".join(done.out.split())
    assert "penstock run fact_questions facts.jsonl" in done.out


def test_a_second_demo_shows_the_existing_records_without_a_call(cli: Cli, model: ModelServer) -> None:
    model.answer = answer_from_the_sentence
    first = cli("demo", "--json")
    calls = len(model.requests)

    second = cli("demo", "--json")
    printed = cli("demo")

    assert first.json["records_generated"] == second.json["records_generated"] > 0
    assert second.json["new_records"] == 0
    assert "from an earlier run" in printed.out
    assert len(model.requests) == calls


def test_the_export_that_the_demo_suggests_works(cli: Cli, model: ModelServer, tmp_path: Path) -> None:
    model.answer = answer_from_the_sentence
    cli("demo", "-h")
    cli("demo")

    mapping = ("--map", "user=generated.question", "--map", "assistant=generated.answer")
    done = cli("export", "demo/qa.jsonl", "--format", "openai", "-o", "demo/dataset", *mapping, "--json")

    assert done.status == 0
    assert done.json["rows"] == len(read_lines(tmp_path / "demo" / "qa.jsonl"))


def test_a_demo_whose_key_is_wrong_fails_no_sentence_and_ends_with_1(cli: Cli, model: ModelServer) -> None:
    model.answer = lambda _: refusal(401, "wrong key")

    done = cli("demo")

    assert done.status == 1
    assert "Paused: " in done.out
    assert "wrong key" in done.out
    assert "start the same run again" in done.out
    assert "failed" not in done.out
    assert "Traceback" not in done.err


def test_a_demo_that_cannot_run_here_says_what_to_type_before_anything_is_made(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("LLM_ENDPOINT", "LLM_MODEL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("EMBEDDED_MODEL_PATH", str(tmp_path / "missing.gguf"))

    done = cli("demo")

    assert done.status == 2
    assert done.err.startswith("Error: The embedded model cannot run: ")
    assert "fix it with: set EMBEDDED_MODEL_PATH" in done.err
    assert not (tmp_path / "demo").exists()


def test_a_demo_replaces_no_file_that_is_not_its_own(cli: Cli, model: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "qa.jsonl").write_text("mine\n")

    done = cli("demo")

    assert done.status == 2
    assert "move it away first" in done.err
    assert (tmp_path / "demo" / "qa.jsonl").read_text() == "mine\n"
    assert not model.requests
