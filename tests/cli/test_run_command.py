"""``penstock run``, ``validate`` and ``export``."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from cli.conftest import Cli
from support.model_server import ModelServer, last_user_message, refusal
from support.runs import read_lines

ASK = {
    "type": "TextGenerator",
    "config": {"user_prompt": "Tell me of {{ topic }}.", "system_prompt": "Be brief."},
}
USER_BLOCK = """
from penstock import BaseBlock

class Shout(BaseBlock):
    outputs = ["shouted"]

    async def execute(self, data):
        if data["topic"] == "silence":
            raise RuntimeError("nothing to shout")
        return {"shouted": data["topic"].upper()}
"""


def write(
    folder: Path, *blocks: dict[str, Any], topics: tuple[str, ...] = ("a", "b", "c"), **extra: Any
) -> None:
    """A pipeline and its seeds."""
    definition = {"name": "P", **extra, "blocks": list(blocks) or [ASK]}
    (folder / "p.yaml").write_text(yaml.safe_dump(definition))
    seeds = "".join(json.dumps({"metadata": {"topic": topic}}) + "\n" for topic in topics)
    (folder / "s.jsonl").write_text(seeds)


# --- run


def test_a_run_writes_its_records_and_says_what_it_did(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path)

    done = cli("run", "p.yaml", "s.jsonl", "-o", "deep/out.jsonl")

    assert done.status == 0
    assert done.out == ""
    assert "Model: gpt-x at http://127.0.0.1" in done.err
    assert "3 records · 21 + 9 tokens" in done.err
    assert [line["output"] for line in read_lines(tmp_path / "deep/out.jsonl")] == [
        "echo: Tell me of a.",
        "echo: Tell me of b.",
        "echo: Tell me of c.",
    ]


def test_a_run_reports_as_json_on_standard_output_alone(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path)

    done = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "--json", "-q")

    assert done.status == 0
    assert done.err == ""
    assert done.json["status"] == "completed"
    assert (done.json["records_generated"], done.json["new_records"], done.json["calls"]) == (3, 3, 3)
    assert done.json["usage"]["total_tokens"] == 30
    assert done.json["model"] == "gpt-x"


def test_a_run_with_failures_writes_everything_and_ends_with_1(
    cli: Cli, model: ModelServer, tmp_path: Path
) -> None:
    write(tmp_path)
    model.answer = lambda body: refusal(400, "not this") if " b." in last_user_message(body) else "fine"

    done = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl")
    model.answer = lambda _: "mended"
    retried = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "--retry-failed", "--json")

    assert done.status == 1
    assert "2 records, 1 refused or failed" in done.err
    assert "out.failed.jsonl" in done.err
    assert retried.status == 0
    assert (retried.json["new_records"], retried.json["records_failed"]) == (1, 0)
    assert len(read_lines(tmp_path / "out.jsonl")) == 3


def test_a_run_stopped_by_a_limit_ends_with_1_and_says_so(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path, constraints={"max_total_tokens": 10})

    done = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl")

    assert done.status == 1
    assert "Stopped: Constraint exceeded: max_total_tokens" in done.err


def test_the_same_command_says_that_it_goes_on(cli: Cli, tmp_path: Path, model: ModelServer) -> None:
    write(tmp_path)
    cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "--limit", "2")

    done = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl")

    assert done.status == 0
    assert "Going on: 2 records are there already." in done.err
    assert len(model.requests) == 3


def test_a_replay_asks_nobody_and_a_fresh_run_everybody(cli: Cli, tmp_path: Path, model: ModelServer) -> None:
    write(tmp_path)
    cli("run", "p.yaml", "s.jsonl", "-o", "a.jsonl")

    replayed = cli("run", "p.yaml", "s.jsonl", "-o", "b.jsonl", "--replay")
    asked = len(model.requests)
    fresh = cli("run", "p.yaml", "s.jsonl", "-o", "a.jsonl", "--fresh")

    assert (replayed.status, asked) == (0, 3)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert (fresh.status, len(model.requests)) == (0, 6)


def test_a_replay_of_what_was_never_asked_ends_with_1(cli: Cli, tmp_path: Path, model: ModelServer) -> None:
    write(tmp_path)

    done = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "--replay")

    assert done.status == 1
    assert "3 records need calls that are not in the journal" in done.err
    assert not model.requests


def test_a_dry_run_shows_prompts_and_an_estimate_and_asks_nobody(
    cli: Cli, tmp_path: Path, model: ModelServer
) -> None:
    write(tmp_path, {**ASK, "heal": {"max_attempts": 3}}, topics=tuple("abcdef"))

    told = cli("run", "p.yaml", "s.jsonl", "--dry-run")
    counted = cli("run", "p.yaml", "s.jsonl", "--dry-run", "--json", "--limit", "4")

    assert (told.status, counted.status) == (0, 0)
    assert "Seed 1, step 1: TextGenerator asks gpt-x" in told.out
    assert "user: Tell me of b." in told.out
    assert "Tell me of c." not in told.out
    assert "6 records: 6 calls (at most 18 with healing)" in told.out
    assert counted.json["estimate"]["records"] == counted.json["estimate"]["calls"] == 4
    assert counted.json["seeds"][0]["prompts"][0]["messages"][-1]["content"] == "Tell me of a."
    assert not model.requests
    assert not (tmp_path / "data").exists()


def test_seeds_come_from_a_pipe_and_from_every_kind_of_file(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "s.csv").write_text("topic\na\nb\n")
    (tmp_path / "s.json").write_text('{"metadata": {"topic": "a"}, "repetitions": 3}')

    piped = cli("run", "p.yaml", "-", "-o", "1.jsonl", "--json", stdin=b'{"metadata": {"topic": "z"}}\n')
    table = cli("run", "p.yaml", "s.csv", "-o", "2.jsonl", "--json")
    single = cli("run", "p.yaml", "s.json", "-o", "3.jsonl", "--json")

    assert [done.json["records_generated"] for done in (piped, table, single)] == [1, 2, 3]


@pytest.mark.row("A54")
def test_a_block_in_the_users_folder_needs_no_registration(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "user_blocks").mkdir()
    (tmp_path / "user_blocks" / "shout.py").write_text(USER_BLOCK)
    write(tmp_path, {"type": "Shout"}, topics=("noise", "silence"))

    done = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl")

    assert done.status == 1
    assert [line["output"] for line in read_lines(tmp_path / "out.jsonl")] == ["NOISE"]
    (failed,) = read_lines(tmp_path / "out.failed.jsonl")
    assert failed["error"]["error"] == "Block 'Shout' failed at step 1: nothing to shout"


# --- what is wrong is said in a sentence


@pytest.mark.parametrize(
    ("arguments", "said"),
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
        (["export", "-o", "d"], "no run to export yet"),
        (["export", "nowhere.jsonl", "-o", "d"], "neither the output of a run"),
        (["export", "99", "-o", "d"], "job not found"),
        (["export", "-o", "d", "--map", "user"], "FIELD=PATH"),
        (["export"], "--output"),
        (["blocks", "Nowhere"], "no block or gate 'Nowhere'"),
        (["templates", "nowhere"], "no template 'nowhere'"),
        (["serve", "--port", "99999"], "--port"),
        (["nowhere"], "nowhere"),
    ],
)
def test_wrong_input_is_one_sentence_and_status_2(
    cli: Cli, model: ModelServer, tmp_path: Path, arguments: list[str], said: str
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
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    done = cli(*arguments)

    assert done.status == 2
    assert done.out == ""
    assert "Traceback" not in done.err
    assert said in done.err
    told = [line for line in done.err.splitlines() if line.startswith("Error")]
    assert len(told) == 1
    assert not model.requests
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name in kept} == kept


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


# --- validate


def test_a_sound_pipeline_has_nothing_to_mend(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path)

    told = cli("validate", "p.yaml")
    held = cli("validate", "p.yaml", "s.jsonl", "--json")

    assert (told.status, held.status) == (0, 0)
    assert "1 step, nothing to mend" in told.err
    assert "topic" in told.err
    assert held.json == {"valid": True, "problems": []}


def test_what_is_wrong_with_a_pipeline_is_listed_and_the_status_is_1(
    cli: Cli, tmp_path: Path, model: ModelServer
) -> None:
    write(tmp_path, {"type": "TextGenerator", "config": {"user_prompt": "{{ topc }}"}}, {"type": "Nowhere"})

    told = cli("validate", "p.yaml", "s.jsonl")
    held = cli("validate", "p.yaml", "s.jsonl", "--json")

    assert (told.status, held.status) == (1, 1)
    assert "topc" in told.out
    assert "Nowhere" in told.out
    assert held.json["valid"] is False
    assert {problem["step"] for problem in held.json["problems"]} == {1, 2}
    assert not model.requests


# --- export


@pytest.fixture
def made(cli: Cli, tmp_path: Path) -> Cli:
    """The command line, after a run to ``out.jsonl``."""
    write(tmp_path)
    assert cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "-q").status == 0
    return cli


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "openai", "sharegpt", "alpaca"])
def test_a_dataset_has_its_data_its_card_and_its_pipeline(made: Cli, tmp_path: Path, form: str) -> None:
    done = made("export", "out.jsonl", "--format", form, "-o", "data set", "--json")

    assert done.status == 0
    assert done.json["rows"] == 3
    files = {path.name for path in (tmp_path / "data set").iterdir()}
    assert "README.md" in files
    assert any(name.startswith("pipeline.") for name in files)
    card = (tmp_path / "data set" / "README.md").read_text()
    assert "gpt-x" in card
    assert "s.jsonl" in card


def test_an_export_is_a_file_when_a_file_is_named(made: Cli, tmp_path: Path) -> None:
    mapping = ("--map", "question=user", "--map", "answer=assistant")
    for form in ("jsonl", "csv", "parquet", "openai"):
        more = mapping if form != "openai" else ()
        assert made("export", "out.jsonl", "--format", form, "-o", f"data.{form}", *more).status == 0

    wanted = {"question": "Tell me of a.", "answer": "echo: Tell me of a."}
    assert read_lines(tmp_path / "data.jsonl")[0] == wanted
    with (tmp_path / "data.csv").open(newline="") as file:
        assert next(csv.DictReader(file)) == wanted
    assert pq.read_table(tmp_path / "data.parquet").to_pylist()[0] == wanted
    assert read_lines(tmp_path / "data.openai")[0] == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Tell me of a."},
            {"role": "assistant", "content": "echo: Tell me of a."},
        ]
    }


def test_the_newest_run_is_exported_when_none_is_named_and_a_job_by_its_number(
    made: Cli, tmp_path: Path
) -> None:
    newest, numbered = (
        made("export", "-o", "a.jsonl", "--json"),
        made("export", "1", "-o", "b.jsonl", "--json"),
    )

    assert newest.json["rows"] == numbered.json["rows"] == 3
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_failed_records_are_exported_only_when_asked_for(
    cli: Cli, model: ModelServer, tmp_path: Path
) -> None:
    write(tmp_path)
    model.answer = lambda body: refusal(400) if " b." in last_user_message(body) else "fine"
    cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl")

    usual = cli("export", "-o", "a.jsonl", "--json")
    failed = cli("export", "-o", "b.jsonl", "--status", "failed", "--json")
    unknown = cli("export", "-o", "c.jsonl", "--status", "lost")

    assert (usual.json["rows"], failed.json["rows"]) == (2, 1)
    assert unknown.status == 2
    assert "failed" in unknown.err


@pytest.mark.parametrize("options", [["--format", "xml"], ["--map", "answer=nowhere.at.all"]])
def test_an_export_that_cannot_be_made_leaves_nothing_behind(
    made: Cli, tmp_path: Path, options: list[str]
) -> None:
    done = made("export", "out.jsonl", "-o", "data.jsonl", *options)

    assert done.status == 2
    assert done.err.startswith("Error: ")
    assert not (tmp_path / "data.jsonl").exists()
