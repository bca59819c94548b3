"""What holds for every command: closed streams, readers that have gone, errors as JSON, odd names, limits."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import serving_model
from cli.files import ASK, write
from penstock.testing import ModelServer
from support.forked_commands import Ended, ForkedCommands, forking
from support.runs import read_lines

pytestmark = pytest.mark.skipif(os.name == "nt", reason="commands are forked")

COMMANDS = {
    "version": ["--version"],
    "help": ["run", "--help"],
    "blocks": ["blocks"],
    "block": ["blocks", "RegexGate", "--json"],
    "templates": ["templates"],
    "template": ["templates", "fact_questions"],
    "validate": ["validate", "p.yaml", "s.jsonl"],
    "invalid": ["validate", "wrong.yaml"],
    "doctor": ["doctor"],
    "dry run": ["run", "p.yaml", "s.jsonl", "--dry-run"],
    "run": ["run", "p.yaml", "s.jsonl", "-o", "new.jsonl"],
    "run as JSON": ["run", "p.yaml", "s.jsonl", "-o", "new.jsonl", "--json"],
    "failing run": ["run", "failing.yaml", "s.jsonl", "-o", "new.jsonl", "--json"],
    "same run": ["run", "p.yaml", "s.jsonl", "-o", "out.jsonl"],
    "export": ["export", "out.jsonl", "-o", "dataset"],
    "copy": ["database", "copy", "data.db", "copy.db"],
    "bad input": ["run", "nowhere.yaml", "s.jsonl", "-o", "new.jsonl"],
    "bad usage": ["run", "--nowhere"],
    "no command": ["rum"],
}
"""A few of each command, those that end with 1 and 2 included."""
STATUSES = {"invalid": 1, "failing run": 1, "bad input": 2, "bad usage": 2, "no command": 2}


class Workplace:
    """A folder with pipelines, seeds and a finished run, and the command in it."""

    def __init__(self, commands: ForkedCommands, model: ModelServer, folder: Path) -> None:
        self.commands = commands
        self.folder = folder
        self.variables = {
            "LLM_ENDPOINT": model.url,
            "LLM_MODEL": "gpt-x",
            "DATABASE_PATH": str(folder / "data.db"),
            "COLUMNS": "100",
        }

    def run(
        self, *arguments: str | bytes | Path, variables: dict[str, str] | None = None, **options: Any
    ) -> Ended:
        chosen = {**self.variables, **(variables or {})}
        return self.commands.run(*arguments, folder=self.folder, variables=chosen, **options)


@pytest.fixture(scope="module")
def commands() -> Iterator[ForkedCommands]:
    with forking() as made:
        yield made


def _make_place(commands: ForkedCommands, model: ModelServer, folder: Path) -> Workplace:
    write(folder)
    (folder / "wrong.yaml").write_text("name: W\nblocks:\n- type: Nowhere\n")
    step = {**ASK, "gates": [{"type": "RegexGate", "config": {"pattern": "never"}}]}
    (folder / "failing.yaml").write_text(json.dumps({"name": "F", "blocks": [step]}))
    (folder / "broken.yaml").write_text("name: P\nblocks: [")
    (folder / "broken.jsonl").write_text('{"topic": "a"}\n{bad\n')
    made = Workplace(commands, model, folder)
    assert made.run("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "-q").status == 0
    return made


@pytest.fixture
def place(commands: ForkedCommands, model: ModelServer, tmp_path: Path) -> Workplace:
    return _make_place(commands, model, tmp_path)


@pytest.fixture(scope="module")
def shared(commands: ForkedCommands, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A place for tests whose commands change nothing."""
    with serving_model() as model:
        yield _make_place(commands, model, tmp_path_factory.mktemp("shared"))


@pytest.mark.parametrize("closed", [(0,), (1,), (0, 2), (0, 1, 2)], ids=str)
def test_no_command_needs_a_standard_stream(place: Workplace, closed: tuple[int, ...]) -> None:
    for name, arguments in COMMANDS.items():
        for made in ("new.jsonl", "new.failed.jsonl", "copy.db"):
            (place.folder / made).unlink(missing_ok=True)
        shutil.rmtree(place.folder / "dataset", ignore_errors=True)

        ended = place.run(*arguments, closed=closed)

        assert ended.status == STATUSES.get(name, 0), (name, ended.err)
        assert "Traceback" not in ended.err, name
        assert name not in {"run", "run as JSON"} or len(read_lines(place.folder / "new.jsonl")) == 3
        assert name != "export" or len(read_lines(place.folder / "dataset/train.jsonl")) == 3


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=str)
def test_the_service_needs_no_standard_stream(shared: Workplace, closed: tuple[int, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    ended = shared.run("serve", "--port", str(port), closed=closed, terminate_at=port)

    assert (ended.status, "Traceback" in ended.err) == (0, False), ended.err


def test_a_reader_that_has_gone_changes_no_exit_status(place: Workplace) -> None:
    for name, arguments in COMMANDS.items():
        for made in ("new.jsonl", "new.failed.jsonl", "copy.db"):
            (place.folder / made).unlink(missing_ok=True)
        for numbers in ((1,), (1, 2)):
            reading, writing = os.pipe()
            os.close(reading)
            try:
                ended = place.run(*arguments, files=dict.fromkeys(numbers, writing))
            finally:
                os.close(writing)
            shutil.rmtree(place.folder / "dataset", ignore_errors=True)
            (place.folder / "copy.db").unlink(missing_ok=True)

            assert ended.status == STATUSES.get(name, 0), (name, numbers, ended.err)
            assert "Traceback" not in ended.err, (name, numbers)
    assert len(read_lines(place.folder / "out.jsonl")) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "nowhere.yaml", "s.jsonl", "-o", "x"],
        ["run", "broken.yaml", "s.jsonl", "-o", "x"],
        ["run", "p.yaml", "broken.jsonl", "-o", "x"],
        ["run", "p.yaml", "s.jsonl"],
        ["run", "p.yaml", "s.jsonl", "-o", "x", "--limit", "0"],
        ["run", "p.yaml", "nowhere.jsonl", "--dry-run"],
        ["validate", "broken.yaml"],
        ["validate", "p.yaml", "broken.jsonl"],
        ["validate", "nowhere"],
        ["validate"],
        ["export", "99", "-o", "x"],
        ["export", "-o", "-"],
        ["export"],
        ["blocks", "Nowhere"],
        ["templates", "nowhere"],
        ["database", "copy", "nowhere.db", "x.db"],
        ["database", "copy"],
        ["database"],
        ["demo", "--nothing"],
        ["doctor", "more"],
    ],
    ids=" ".join,
)
def test_an_error_is_a_json_object_where_json_was_asked_for(shared: Workplace, arguments: list[str]) -> None:

    ended = shared.run(*arguments, "--json")

    assert ended.status == 2
    assert ended.json["error"] in " ".join(ended.err.split())
    assert isinstance(ended.json["detail"], dict)
    assert arguments[0] != "validate" or len(arguments) < 2 or ended.json["valid"] is False


def test_a_validation_that_cannot_read_its_input_reports_it_as_a_problem(shared: Workplace) -> None:

    (problem,) = shared.run("validate", "broken.yaml", "--json").json["problems"]

    assert problem["line"] == 3
    assert "broken.yaml line 3" in problem["message"]


ODD_NAMES = {"bytes": b"odd\xff", "long": b"n" * 300, "dash": b"-", "control characters": b"a\n\x1b[31m"}


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_odd_names_are_no_traceback_in_any_command(place: Workplace, name: bytes) -> None:
    for arguments in (
        ["run", name, "s.jsonl", "-o", "new.jsonl"],
        ["run", name + b".yaml", "s.jsonl", "-o", "new.jsonl"],
        ["run", "p.yaml", name, "-o", "new.jsonl"],
        ["run", "p.yaml", "s.jsonl", "-o", "new.jsonl", "--separator", name],
        ["run", "p.yaml", "s.jsonl", "-o", name],
        ["validate", name],
        ["validate", "p.yaml", name],
        ["export", name, "-o", "new"],
        ["export", "out.jsonl", "-o", name + b".x"],
        ["export", "out.jsonl", "-o", "new", "--map", b"f=" + name],
        ["export", "out.jsonl", "-o", "new", "--format", name],
        ["export", "out.jsonl", "-o", "new", "--status", name],
        ["blocks", name],
        ["templates", name],
        ["database", "copy", name, "copy.db"],
        ["database", "copy", "data.db", name],
        [name],
        ["serve", "--host", name],
    ):
        ended = place.run(*arguments)

        assert ended.status in {0, 1, 2}, (arguments, ended.err)
        assert "Traceback" not in ended.err, (arguments, ended.err)
        assert ended.status != 2 or len(ended.err.splitlines()) <= 5, (arguments, ended.err)


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["rum"], "Did you mean 'run'?"),
        (["database", "copi"], "Did you mean 'copy'?"),
        (["blocks", "TextGenerater"], "Did you mean 'TextGenerator'?"),
        (["blocks", "regexgate"], "Did you mean 'RegexGate'?"),
        (["templates", "fact_question"], "Did you mean 'fact_questions'?"),
        (["run", "fact_question", "examples", "-o", "x"], "Did you mean 'fact_questions'?"),
        (["export", "99", "-o", "x"], "There is no job 99; the newest one is 1."),
        (["export", "9" * 23, "-o", "x"], "There is no job 99999999999999999999999; the newest one is 1."),
    ],
    ids=str,
)
def test_what_was_probably_meant_is_said(shared: Workplace, arguments: list[str], suggestion: str) -> None:
    ended = shared.run(*arguments)

    assert (ended.status, suggestion in ended.err) == (2, True), ended.err


def test_a_run_refuses_a_key_that_stands_twice_as_validate_does(place: Workplace) -> None:
    (place.folder / "twice.yaml").write_text((place.folder / "p.yaml").read_text() + "name: Q\n")

    ended = place.run("run", "twice.yaml", "s.jsonl", "-o", "new.jsonl")

    assert ended.status == 2
    assert "the key 'name' is there twice" in ended.err
    assert place.run("validate", "twice.yaml").status == 1


@pytest.mark.parametrize("limit", [40, 48, 64])
def test_few_file_descriptors_are_enough(place: Workplace, limit: int) -> None:
    models = [
        {**ASK, "config": {"user_prompt": f"{model} {{{{ topic }}}}", "model": model}} for model in "abc"
    ]
    write(place.folder, *models, topics=tuple(map(str, range(100))))

    ended = place.run(
        *("run", "p.yaml", "s.jsonl", "-o", "new.jsonl", "--concurrency", "256"),
        variables={"LLM_CONCURRENCY": "256"},
        limit_files=limit,
    )

    assert ended.status == 0, ended.err
    assert len(read_lines(place.folder / "new.jsonl")) == 100


def test_too_few_file_descriptors_are_one_sentence(shared: Workplace) -> None:
    ended = shared.run("run", "p.yaml", "s.jsonl", "-o", "new.jsonl", "-q", limit_files=30)

    assert ended.status == 2
    assert (
        ended.err
        == "Error: This process may open only 30 files and needs 40; allow more with `ulimit -n 1024`.\n"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "80000"),
        ("PORT", "-1"),
        ("PORT", "http"),
        ("HOST", "999.1.1.1.1"),
        ("LLM_TIMEOUT", "inf"),
        ("LLM_TIMEOUT", "nan"),
        ("LLM_DEADLINE", "1e300"),
        ("LLM_CONCURRENCY", "0"),
        ("LLM_CONCURRENCY", "1000000"),
        ("MAX_RUNNING_JOBS", "100000"),
        ("DATABASE_LOCK_SECONDS", "1e10"),
        ("LLM_ENDPOINT", "http://[::1/v1"),
        ("LLM_ENDPOINT", "http://a..b/v1"),
        ("LLM_ENDPOINT", "localhost:8000/v1"),
        ("OPENAI_BASE_URL", "https://host:port/v1"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_before_anything_is_done(
    shared: Workplace, name: str, value: str
) -> None:
    command = ["serve"] if name in {"PORT", "HOST"} else ["run", "p.yaml", "s.jsonl", "-o", "new.jsonl"]

    ended = shared.run(*command, variables={name: value, "API_TOKEN": "0123456789abcdef"})

    assert ended.status == 2, ended.err
    assert name in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (shared.folder / "new.jsonl").exists()


def test_concurrency_has_an_upper_limit_in_every_place(place: Workplace) -> None:
    ended = place.run("run", "p.yaml", "s.jsonl", "-o", "new.jsonl", "--concurrency", "1000000")

    assert ended.status == 2
    assert "4096" in ended.err
    assert place.run("run", "p.yaml", "s.jsonl", "-o", "new.jsonl", "--concurrency", "4096").status == 0


@pytest.mark.parametrize("target", ["/dev/stdout", "-", "fifo"])
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_an_export_is_streamed_to_standard_output_and_to_a_fifo(
    shared: Workplace, target: str, form: str
) -> None:
    if target == "fifo":
        (shared.folder / "fifo").unlink(missing_ok=True)
        os.mkfifo(shared.folder / "fifo")
        reading = os.open(shared.folder / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        ended = shared.run("export", "out.jsonl", "-o", "fifo", "--format", form)
    else:
        reading, writing = os.pipe()
        ended = shared.run("export", "out.jsonl", "-o", target, "--format", form, files={1: writing})
        os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()

    assert ended.status == 0, ended.err
    assert "3 records" in ended.err
    assert data.count(b"\n") == 3 if form == "jsonl" else data.startswith(b"PAR1")
    assert not list(shared.folder.rglob("train.*"))


@pytest.mark.parametrize("target", ["fifo", "/dev/stdout"])
def test_a_run_refuses_a_pipe_for_its_records(shared: Workplace, target: str) -> None:
    (shared.folder / "fifo").unlink(missing_ok=True)
    os.mkfifo(shared.folder / "fifo")
    reading, writing = os.pipe()

    ended = shared.run("run", "p.yaml", "s.jsonl", "-o", target, files={1: writing})
    os.close(reading)
    os.close(writing)

    assert ended.status == 2
    assert "not a regular file" in ended.err


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_any_umask_is_kept_and_none_ends_a_run_with_a_traceback(place: Workplace, umask: int) -> None:
    ended = place.run("run", "p.yaml", "s.jsonl", "-o", "deep/new.jsonl", umask=umask)

    assert "Traceback" not in ended.err
    assert ended.status == 0 or (umask == 0o777 and ended.status == 2), ended.err
    if umask != 0o777:
        assert (place.folder / "deep/new.jsonl").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_working_folder_that_is_gone_is_one_sentence(commands: ForkedCommands, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()

    ended = commands.run("blocks", folder=tmp_path / "gone", is_removed=True)

    assert (ended.status, ended.err) == (2, "Error: The working folder is gone; change to another one.\n")


def test_settings_that_are_no_text_are_one_sentence(place: Workplace) -> None:
    (place.folder / ".env").write_bytes(b"LLM_TIMEOUT=\xff\n")

    ended = place.run("blocks")

    assert (ended.status, ended.err) == (
        2,
        "Error: The settings in .env cannot be read: it is not UTF-8 text.\n",
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_an_export_to_a_device_that_is_full_is_one_sentence(shared: Workplace) -> None:
    ended = shared.run("export", "out.jsonl", "-o", "/dev/full")

    assert (ended.status, ended.err) == (2, "Error: /dev/full cannot be written: No space left on device.\n")
