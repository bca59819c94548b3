"""Output to terminals and pipes of every encoding, and to those that are not there (fault 26)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from cli.files import ASK
from penstock.cli.output import print_json
from penstock.testing import ModelServer
from support.command import environment
from support.runs import read_lines

ODD = "größe \U0001f600 \u4e2d"


def _write(folder: Path, text: str = ODD) -> None:
    (folder / "p.yaml").write_text(
        yaml.safe_dump(
            {
                "name": ODD,
                "blocks": [{**ASK, "config": {"user_prompt": f"{ODD} {{{{ topic }}}}"}}],
            }
        )
    )
    (folder / "s.jsonl").write_text(json.dumps({"topic": text}) + "\n")


async def _shell(
    line: str, folder: Path, model: ModelServer | None = None, **variables: str
) -> tuple[int, str]:
    """Run a line of shell in which ``penstock`` is the command; its exit status and all that it printed."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        line.replace("penstock ", f"{sys.executable} -m penstock "),
        cwd=folder,
        env=environment(model, folder) | variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(errors="replace")


@pytest.fixture
async def provider() -> ModelServer:
    """A scripted provider in this process, whose commands are others."""
    return ModelServer()


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["ascii", "latin-1", "C"],
)
async def test_what_an_encoding_cannot_hold_is_a_question_mark_in_every_command(
    provider: ModelServer, tmp_path: Path, variables: dict[str, str]
) -> None:
    _write(tmp_path)
    commands = (
        "run p.yaml s.jsonl -o größe.jsonl",
        "run p.yaml s.jsonl -o größe.jsonl --json",
        "run p.yaml s.jsonl --dry-run",
        "validate p.yaml s.jsonl",
        f"templates {ODD.split(maxsplit=1)[0]}",
        "blocks",
        "doctor",
    )
    async with provider as model:
        for command in commands:
            status, printed = await _shell(f"penstock {command}", tmp_path, model, **variables)

            assert "Traceback" not in printed, command
            assert status == (2 if command.startswith("templates") else 0), command
            if "dry-run" in command and "latin-1" in variables.values():
                assert "e ? ?" in printed

    assert len(read_lines(tmp_path / "größe.jsonl")) == 1


@pytest.mark.skipif(os.name == "nt", reason="the shell is bash")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_streams_that_are_not_there_do_not_matter(
    provider: ModelServer, tmp_path: Path, closed: str
) -> None:
    _write(tmp_path)
    async with provider as model:
        status, printed = await _shell(f"penstock run p.yaml s.jsonl -o out.jsonl {closed}", tmp_path, model)

    assert status == 0
    assert "Traceback" not in printed
    assert len(read_lines(tmp_path / "out.jsonl")) == 1


async def test_a_reader_that_has_gone_is_no_error(provider: ModelServer, tmp_path: Path) -> None:
    _write(tmp_path)
    lines = (
        "penstock blocks | head -1; echo ${PIPESTATUS[0]}",
        "penstock --help | head -1; echo ${PIPESTATUS[0]}",
        "penstock run p.yaml s.jsonl -o out.jsonl 2>&1 | true; echo ${PIPESTATUS[0]}",
        "penstock run p.yaml s.jsonl -o out.jsonl --json | true; echo ${PIPESTATUS[0]}",
    )
    async with provider as model:
        printed = [(await _shell(line, tmp_path, model))[1].splitlines() for line in lines]

    assert [lines[-1] for lines in printed] == ["0"] * 4
    assert "Traceback" not in str(printed)
    assert len(read_lines(tmp_path / "out.jsonl")) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("command", ["blocks", "blocks --json", "templates", "doctor"])
async def test_an_output_that_is_full_is_one_sentence(tmp_path: Path, command: str) -> None:
    status, printed = await _shell(f"penstock {command} > /dev/full", tmp_path)

    assert (status, printed) == (2, "Error: The output cannot be written: No space left on device.\n")


def test_results_as_json_keep_what_utf_8_cannot_hold(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"half": "\ud83d", "large": 2**70}

    print_json(value)

    assert json.loads(capsys.readouterr().out) == value
