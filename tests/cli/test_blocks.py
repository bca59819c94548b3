"""``penstock blocks``."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Cli


@pytest.mark.row("A70")
def test_blocks_and_gates_are_listed(cli: Cli) -> None:
    printed, as_json = cli("blocks"), cli("blocks", "--json")

    assert printed.status == as_json.status == 0
    assert "TextGenerator" in printed.out
    assert "RegexGate" in printed.out
    assert {"TextGenerator", "MarkdownMultiplierBlock"} <= {block["type"] for block in as_json.json["blocks"]}
    assert as_json.json["errors"] == []


def test_one_block_is_shown_with_its_settings(cli: Cli) -> None:
    printed, as_json = cli("blocks", "StructuredGenerator"), cli("blocks", "RegexGate", "--json")

    assert "json_schema (object, required)" in printed.out
    assert "temperature (number, default 0.7)" in printed.out
    assert [gate["type"] for gate in as_json.json["gates"]] == ["RegexGate"]
    assert as_json.json["blocks"] == []


@pytest.mark.row("A59")
def test_a_broken_user_block_is_reported_and_the_others_are_listed(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "user_blocks").mkdir()
    (tmp_path / "user_blocks" / "bad.py").write_text("def broken(:")

    printed, as_json = cli("blocks"), cli("blocks", "--json")

    assert printed.status == as_json.status == 1
    assert "Not loaded: " in printed.err
    assert "bad.py" in printed.err
    assert "TextGenerator" in printed.out
    assert len(as_json.json["errors"]) == 1
