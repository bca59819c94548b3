"""``penstock templates``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cli.conftest import Cli
from penstock.testing import ModelServer
from support.runs import read_lines


@pytest.mark.row("A126", "A129")
def test_templates_are_listed_and_printed_as_pipelines(cli: Cli, tmp_path: Path) -> None:
    listed, printed, as_json = cli("templates"), cli("templates", "qa_generation"), cli("templates", "--json")

    assert "qa_generation" in listed.out
    assert {template["id"] for template in as_json.json} >= {
        "json_generation",
        "text_classification",
        "qa_generation",
    }
    (tmp_path / "mine.yaml").write_text(printed.out)
    assert cli("validate", "mine.yaml").status == 0
    assert cli("templates", "qa_generation", "--json").json == yaml.safe_load(printed.out)


def test_every_template_is_valid_with_its_own_examples(cli: Cli) -> None:
    for template in cli("templates", "--json").json:
        assert cli("validate", template["id"], "examples").status == 0


@pytest.mark.row("A133")
def test_a_template_runs_over_its_examples(cli: Cli, model: ModelServer, tmp_path: Path) -> None:
    model.answer = lambda _: '{"title": "T", "description": "d"}'

    done = cli("run", "json_generation", "examples", "-o", "out.jsonl")

    assert done.status == 0
    assert read_lines(tmp_path / "out.jsonl")
