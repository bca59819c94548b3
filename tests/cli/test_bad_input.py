"""Input that cannot be used gives one sentence and exit status 2."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cli.conftest import Cli
from cli.files import ASK, write
from penstock.testing import ModelServer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere", "s.jsonl", "-o", "o"], "no file and no template 'nowhere'"),
        (["run", "nowhere.yaml", "s.jsonl", "-o", "o"], "There is no pipeline file nowhere.yaml"),
        (["run", "p.yaml", "nowhere.jsonl", "-o", "o"], "nowhere.jsonl"),
        (["run", "p.yaml", "s.jsonl"], "-o records.jsonl"),
        (["run", "p.yaml", "examples", "-o", "o"], "no example seeds"),
        (["run", "p.yaml", "s.txt", "-o", "o"], "s.txt"),
        (["run", "p.yaml", "bad.json", "-o", "o"], "bad.json"),
        (["run", "p.yaml", "bad.jsonl", "-o", "o"], "line 2"),
        (["run", "p.yaml", "empty.jsonl", "-o", "o"], "no seeds"),
        (["run", "bad.yaml", "s.jsonl", "-o", "o"], "bad.yaml line 3"),
        (["run", "list.yaml", "s.jsonl", "-o", "o"], "mapping"),
        (["run", "unknown.yaml", "s.jsonl", "-o", "o"], "Block 'Nowhere' not found"),
        (["run", "setting.yaml", "s.jsonl", "-o", "o"], "temprature"),
        (["run", "gate.yaml", "s.jsonl", "-o", "o"], "looks at 'nothing'"),
        (["run", "typeless.yaml", "s.jsonl", "-o", "o"], "'type'"),
        (["run", "limits.yaml", "s.jsonl", "-o", "o"], "max_total_tokens"),
        (["run", "p.yaml", "s.jsonl", "-o", "folder"], "folder"),
        (["run", "p.yaml", "s.jsonl", "-o", "s.txt/out.jsonl"], "cannot be written"),
        (["run", "p.yaml", "s.jsonl", "-o", "s.txt"], "--overwrite"),
        (["run", "p.yaml", "s.jsonl", "-o", "s.jsonl", "--overwrite"], "s.jsonl"),
        (["run", "p.yaml", "s.jsonl", "-o", "p.yaml", "--overwrite"], "p.yaml"),
        (["run", "p.yaml", "s.jsonl", "-o", "o", "--fresh", "--replay"], "exclude each other"),
        (["run", "p.yaml", "s.jsonl", "-o", "o", "--limit", "0"], "--limit"),
        (["run", "p.yaml", "s.jsonl", "-o", "o", "--concurrency", "0"], "--concurrency"),
        (["run", "p.yaml"], "SEEDS"),
        (["run", "p.yaml", "s.jsonl", "--frehs"], "--frehs"),
        (["validate", "nowhere"], "no file and no template 'nowhere'"),
        (["validate", "bad.yaml"], "bad.yaml line 3"),
        (["validate", "p.yaml", "nowhere.jsonl"], "nowhere.jsonl"),
        (["export", "-o", "d"], "There is no database"),
        (["export", "nowhere.jsonl", "-o", "d"], "There is no database"),
        (["export", "99", "-o", "d"], "There is no database"),
        (["export", "-o", "d", "--map", "user"], "FIELD=PATH"),
        (["export"], "--output"),
        (["blocks", "Nowhere"], "no block or gate 'Nowhere'"),
        (["templates", "nowhere"], "no template 'nowhere'"),
        (["serve", "--port", "99999"], "--port"),
        (["nowhere"], "nowhere"),
    ],
)
def test_input_that_cannot_be_used_is_one_sentence_and_status_2(
    cli: Cli, model: ModelServer, tmp_path: Path, arguments: list[str], message: str
) -> None:
    write(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "s.txt").write_text("x")
    (tmp_path / "bad.json").write_text("{bad")
    (tmp_path / "bad.jsonl").write_text('{"metadata": {}}\n{bad\n')
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "bad.yaml").write_text("name: P\nblocks: [")
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    for name, block in {
        "unknown": {"type": "Nowhere"},
        "setting": {"type": "TextGenerator", "config": {"temprature": 1}},
        "gate": {**ASK, "gates": [{"type": "RegexGate", "config": {"part": "nothing", "pattern": "x"}}]},
        "typeless": {"config": {}},
    }.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"name": "P", "blocks": [block]}))
    (tmp_path / "limits.yaml").write_text("name: P\nconstraints: {max_total_tokens: x}\nblocks: []\n")
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    done = cli(*arguments)

    assert done.status == 2
    assert done.out == ""
    assert "Traceback" not in done.err
    assert message in done.err
    errors = [line for line in done.err.splitlines() if line.startswith("Error")]
    assert len(errors) == 1
    assert not model.requests
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name in files} == files


@pytest.mark.parametrize(
    ("name", "value"),
    [("LLM_TIMEOUT", "soon"), ("DATABASE_PATH", "s.jsonl/x.db"), ("DATABASE_URL", "oracle://x/y")],
)
def test_a_setting_that_cannot_be_used_is_named(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    write(tmp_path)
    monkeypatch.setenv(name, value)

    done = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "-q")

    assert done.status == 2
    assert done.err.startswith("Error: ")
    assert len(done.err.splitlines()) == 1
