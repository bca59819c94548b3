"""``penstock validate``."""

from __future__ import annotations

from pathlib import Path

from cli.conftest import Cli
from cli.files import write
from penstock.testing import ModelServer


def test_a_valid_pipeline_has_no_errors(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path)

    printed = cli("validate", "p.yaml")
    as_json = cli("validate", "p.yaml", "s.jsonl", "--json")

    assert (printed.status, as_json.status) == (0, 0)
    assert "1 step, no errors found" in printed.err
    assert "topic" in printed.err
    assert as_json.json == {"valid": True, "problems": []}


def test_errors_in_a_pipeline_are_listed_and_the_status_is_1(
    cli: Cli, tmp_path: Path, model: ModelServer
) -> None:
    write(tmp_path, {"type": "TextGenerator", "config": {"user_prompt": "{{ topc }}"}}, {"type": "Nowhere"})

    printed = cli("validate", "p.yaml", "s.jsonl")
    as_json = cli("validate", "p.yaml", "s.jsonl", "--json")

    assert (printed.status, as_json.status) == (1, 1)
    assert "topc" in printed.out
    assert "Nowhere" in printed.out
    assert as_json.json["valid"] is False
    assert {problem["step"] for problem in as_json.json["problems"]} == {1, 2}
    assert not model.requests
