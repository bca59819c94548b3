"""``penstock blocks``, ``templates``, ``doctor``, ``demo``, and what the command line costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import penstock
from cli.conftest import Cli
from penstock import BaseBlock, BaseGate, Pipeline, run
from support.model_server import Answer, ModelServer, last_user_message, refusal
from support.runs import read_lines

HEAVY = ("litellm", "sqlalchemy", "aiohttp", "pyarrow", "fastapi", "xllamacpp", "nltk", "alembic", "openai")


def modules_after(code: str, folder: Path) -> list[str]:
    """Which heavy modules a fresh interpreter has imported after ``code``."""
    asked = (
        f"import sys\n{code}\nprint(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stderr.split()


# --- the group


@pytest.mark.parametrize(
    "code",
    [
        "import penstock",
        "import penstock.cli",
        "from penstock.cli import penstock\npenstock.main(['--help'], standalone_mode=False)",
        "from penstock.cli import penstock\npenstock.main(['run', '--help'], standalone_mode=False)",
    ],
)
def test_neither_the_package_nor_its_help_imports_what_is_heavy(tmp_path: Path, code: str) -> None:
    assert modules_after(code, tmp_path) == []


def test_validating_asks_no_model_and_imports_no_database(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("name: P\nblocks:\n- type: ValidatorBlock\n")
    code = (
        "from penstock.cli import penstock\n"
        "try: penstock.main(['validate', 'p.yaml'], standalone_mode=False)\n"
        "except SystemExit: pass"
    )

    assert not {"litellm", "sqlalchemy", "fastapi", "xllamacpp"} & set(modules_after(code, tmp_path))


def test_the_face_of_the_package_is_what_a_notebook_needs() -> None:
    assert set(penstock.__all__) >= {"Pipeline", "BaseBlock", "BaseGate", "run"}
    assert {Pipeline.__name__, BaseBlock.__name__, BaseGate.__name__} == {"Pipeline", "BaseBlock", "BaseGate"}
    assert callable(run)
    with pytest.raises(AttributeError):
        _ = penstock.nothing


def test_help_names_every_command_and_the_exit_statuses(cli: Cli) -> None:
    done = cli("--help")

    assert done.status == 0
    for command in ("demo", "run", "validate", "export", "blocks", "templates", "doctor", "serve"):
        assert re.search(rf"^  {command} ", done.out, re.MULTILINE)
    assert "130" in done.out


@pytest.mark.parametrize(
    "command", ["demo", "run", "validate", "export", "blocks", "templates", "doctor", "serve"]
)
def test_every_command_has_help_with_examples(cli: Cli, command: str) -> None:
    done = cli(command, "--help")

    assert done.status == 0
    assert "Examples:" in done.out


def test_the_version_is_the_packages(cli: Cli) -> None:
    assert penstock.__version__ in cli("--version").out


# --- blocks


@pytest.mark.row("A70")
def test_blocks_and_gates_are_listed(cli: Cli) -> None:
    told, read = cli("blocks"), cli("blocks", "--json")

    assert told.status == read.status == 0
    assert "TextGenerator" in told.out
    assert "RegexGate" in told.out
    assert {"TextGenerator", "MarkdownMultiplierBlock"} <= {block["type"] for block in read.json["blocks"]}
    assert read.json["errors"] == []


def test_one_block_is_shown_with_its_settings(cli: Cli) -> None:
    told, read = cli("blocks", "StructuredGenerator"), cli("blocks", "RegexGate", "--json")

    assert "json_schema (object, required)" in told.out
    assert "temperature (number, default 0.7)" in told.out
    assert [gate["type"] for gate in read.json["gates"]] == ["RegexGate"]
    assert read.json["blocks"] == []


@pytest.mark.row("A59")
def test_a_broken_user_block_is_reported_and_the_others_are_listed(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "user_blocks").mkdir()
    (tmp_path / "user_blocks" / "bad.py").write_text("def broken(:")

    told, read = cli("blocks"), cli("blocks", "--json")

    assert told.status == read.status == 1
    assert "Not loaded: " in told.err
    assert "bad.py" in told.err
    assert "TextGenerator" in told.out
    assert len(read.json["errors"]) == 1


# --- templates


@pytest.mark.row("A126", "A129")
def test_templates_are_listed_and_printed_as_pipelines(cli: Cli, tmp_path: Path) -> None:
    listed, printed, read = cli("templates"), cli("templates", "qa_generation"), cli("templates", "--json")

    assert "qa_generation" in listed.out
    assert {one["id"] for one in read.json} >= {"json_generation", "text_classification", "qa_generation"}
    (tmp_path / "mine.yaml").write_text(printed.out)
    assert cli("validate", "mine.yaml").status == 0
    assert cli("templates", "qa_generation", "--json").json == yaml.safe_load(printed.out)


def test_every_template_is_sound_over_its_own_examples(cli: Cli) -> None:
    for template in cli("templates", "--json").json:
        assert cli("validate", template["id"], "examples").status == 0


@pytest.mark.row("A133")
def test_a_template_runs_over_its_examples(cli: Cli, model: ModelServer, tmp_path: Path) -> None:
    model.answer = lambda _: '{"title": "T", "description": "d"}'

    done = cli("run", "json_generation", "examples", "-o", "out.jsonl")

    assert done.status == 0
    assert read_lines(tmp_path / "out.jsonl")


# --- doctor


def test_the_doctor_says_what_is_set_up(cli: Cli) -> None:
    told, read = cli("doctor"), cli("doctor", "--json")

    assert told.status == 0
    assert "gpt-x at http://127.0.0.1" in told.out
    assert {"Python", "Model", "Database", "Blocks"} <= {fact["name"] for fact in read.json}


def test_the_doctor_asks_the_model_when_told_to(cli: Cli, model: ModelServer) -> None:
    done = cli("doctor", "--ask")

    assert done.status == 0
    assert "gpt-x answered in" in done.out
    assert len(model.requests) == 1


def test_the_doctor_finds_what_is_wrong(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user_blocks").mkdir()
    (tmp_path / "user_blocks" / "bad.py").write_text("import nothing_of_that_name")
    (tmp_path / "no_database").write_text("this is not SQLite, and long enough to be looked at" * 50)
    monkeypatch.setenv("DATABASE_PATH", str(tmp_path / "no_database"))

    done = cli("doctor", "--json")

    missing = {fact["name"] for fact in done.json if fact["state"] == "missing"}
    assert done.status == 1
    assert missing == {"Database", "Blocks"}


# --- demo


def ask_of_the_sentence(body: dict[str, Any]) -> Answer:
    """A sound question for each sentence that ends with "in" and a year, something useless for others."""
    sentence = re.findall(r"Sentence: (.+)", last_user_message(body))[-1]
    found = re.match(r"(?P<who>[A-Z]\w+ [A-Z]\w+) (?P<what>.+) in \d{4}\.$", sentence)
    if found is None:
        return '{"question": "What is it about?", "answer": "nothing [/red] of the kind"}'
    return f'{{"question": "Who {found["what"]}?", "answer": "{found["who"]}"}}'


def test_the_demo_shows_what_was_accepted_what_was_refused_and_what_to_do_next(
    cli: Cli, model: ModelServer, tmp_path: Path
) -> None:
    model.answer = ask_of_the_sentence

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


def test_the_demo_shows_again_what_is_there_and_reports_as_json(cli: Cli, model: ModelServer) -> None:
    model.answer = ask_of_the_sentence
    first = cli("demo", "--json")
    asked = len(model.requests)

    again = cli("demo", "--json")
    told = cli("demo")

    assert first.json["records_generated"] == again.json["records_generated"] > 0
    assert again.json["new_records"] == 0
    assert "already there" in told.out
    assert len(model.requests) == asked


def test_what_the_demo_suggests_works(cli: Cli, model: ModelServer, tmp_path: Path) -> None:
    model.answer = ask_of_the_sentence
    cli("demo", "-h")
    cli("demo")

    mapping = ("--map", "user=generated.question", "--map", "assistant=generated.answer")
    done = cli("export", "demo/qa.jsonl", "--format", "openai", "-o", "demo/dataset", *mapping, "--json")

    assert done.status == 0
    assert done.json["rows"] == len(read_lines(tmp_path / "demo" / "qa.jsonl"))


def test_a_demo_whose_model_is_broken_says_so(cli: Cli, model: ModelServer) -> None:
    model.answer = lambda _: refusal(401, "wrong key")

    done = cli("demo")

    assert done.status == 1
    assert "Stopped: " in done.out
    assert "wrong key" in done.out
    assert "Traceback" not in done.err
