"""No command sends the control characters of somebody else's text to the terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from cli.conftest import Cli
from penstock.cli import main
from penstock.control_characters import escape_controls
from penstock.testing import ModelServer, Reply

EVIL = "\x1b]0;PWNED\x07\x1b[2J\x9b31m\u202e"
SHOWN = r"\x1b]0;PWNED\x07\x1b[2J\x9b31m\u202e"
BLOCK = f"""
from penstock import BaseBlock

class Evil(BaseBlock):
    name = {EVIL!r}
    description = {EVIL!r}
    outputs = ["x"]

    async def execute(self, data):
        raise ValueError({EVIL!r})
"""


@pytest.fixture(autouse=True)
def _hostile_files(tmp_path: Path) -> None:
    (tmp_path / "user_blocks").mkdir()
    (tmp_path / "user_blocks" / "evil.py").write_text(BLOCK)
    (tmp_path / "user_blocks" / "broken.py").write_text(f"raise ValueError({EVIL!r})")
    (tmp_path / "user_templates").mkdir()
    step = {"type": "TextGenerator", "config": {"user_prompt": "{{ text }}"}}
    unknown = {"type": EVIL, "config": {EVIL: EVIL}}
    files = {
        "seeds.jsonl": {"text": EVIL},
        "p.json": {"name": EVIL, "blocks": [step]},
        "unknown.json": {"name": EVIL, "blocks": [unknown, {**step, EVIL: 1}]},
        "evil.json": {"name": EVIL, "blocks": [{"type": "Evil"}]},
        "user_templates/evil.yaml": {"name": EVIL, "description": EVIL, "blocks": [step]},
    }
    for name, value in files.items():
        (tmp_path / name).write_text(json.dumps(value) + "\n")


@pytest.mark.parametrize(
    "command",
    [
        ("run", "p.json", "seeds.jsonl", "-o", "out.jsonl", "--dry-run"),
        ("run", "p.json", "seeds.jsonl", "-o", "out.jsonl"),
        ("run", "evil.json", "seeds.jsonl", "-o", "out.jsonl"),
        ("run", "p.json", "seeds.jsonl", "-o", "out.jsonl", "--json"),
        ("run", "p.json", "seeds.jsonl", "-o", "out.jsonl", "--dry-run", "--json"),
        ("validate", "unknown.json", "seeds.jsonl"),
        ("validate", "unknown.json", "--json"),
        ("blocks",),
        ("blocks", "Evil"),
        ("blocks", "--json"),
        ("templates",),
        ("templates", "evil"),
        ("templates", "evil", "--json"),
        ("doctor",),
        ("run", f"{EVIL}.yaml", "seeds.jsonl", "-o", "out.jsonl"),
        ("run", "p.json", "seeds.jsonl", "-o", "out.jsonl", "--seed-format", EVIL),
        (EVIL,),
    ],
)
def test_controls_in_seeds_pipelines_blocks_and_arguments_are_escaped(
    cli: Cli, command: tuple[str, ...]
) -> None:
    printed = cli(*command)

    text = printed.out + printed.err
    assert text
    assert escape_controls(text) == text
    assert "--json" not in command or printed.json


@pytest.mark.parametrize("status", [200, 400, 401, 404])
def test_controls_in_a_servers_error_are_escaped(cli: Cli, model: ModelServer, status: int) -> None:
    body = json.dumps({"error": {"message": f"a\x00b{EVIL}"}}).encode()
    model.answer = lambda _: Reply(status=status, body=body)

    printed = cli("run", "p.json", "seeds.jsonl", "-o", "out.jsonl")

    assert escape_controls(printed.err) == printed.err
    assert "Records: out.jsonl" in printed.err


def test_the_prompts_of_a_dry_run_show_what_is_in_them(cli: Cli) -> None:
    assert SHOWN in cli("run", "p.json", "seeds.jsonl", "-o", "out.jsonl", "--dry-run").out


def test_a_crash_shows_its_traceback_without_controls_and_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["penstock", "--version"])
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    with pytest.raises(SystemExit):
        main()
    error = RuntimeError(f"{EVIL} api_key=made-up-0123456789")

    sys.excepthook(RuntimeError, error, None)

    printed = capsys.readouterr().err
    assert f"RuntimeError: {SHOWN} api_key=***" in printed
