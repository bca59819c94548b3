"""``penstock run``."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.conftest import Cli
from cli.files import ASK, write
from penstock.testing import ModelServer, last_user_message, refusal
from support.runs import read_lines

USER_BLOCK = """
from penstock import BaseBlock

class Shout(BaseBlock):
    outputs = ["shouted"]

    async def execute(self, data):
        if data["topic"] == "silence":
            raise RuntimeError("nothing to shout")
        return {"shouted": data["topic"].upper()}
"""


def test_a_run_writes_its_records_and_prints_a_summary(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path)

    done = cli("run", "p.yaml", "s.jsonl", "-o", "deep/out.jsonl")

    assert done.status == 0
    assert done.out == ""
    assert "Model: gpt-x at http://127.0.0.1" in done.err
    assert "3 records · 21 + 9 tokens" in done.err
    assert [line["output"] for line in read_lines(tmp_path / "deep/out.jsonl")] == [
        "echo: Tell me about a.",
        "echo: Tell me about b.",
        "echo: Tell me about c.",
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
    model.answer = lambda _: "fixed"
    retried = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "--retry-failed", "--json")

    assert done.status == 1
    assert "2 records, 1 refused or failed" in done.err
    assert "out.failed.jsonl" in done.err
    assert retried.status == 0
    assert (retried.json["new_records"], retried.json["records_failed"]) == (1, 0)
    assert len(read_lines(tmp_path / "out.jsonl")) == 3


def test_a_run_stopped_by_a_limit_ends_with_1_and_names_the_limit(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path, constraints={"max_total_tokens": 10})

    done = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl")

    assert done.status == 1
    assert "Stopped: Constraint exceeded: max_total_tokens" in done.err


def test_the_same_command_again_says_that_it_continues(cli: Cli, tmp_path: Path, model: ModelServer) -> None:
    write(tmp_path)
    cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "--limit", "2")

    done = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl")

    assert done.status == 0
    assert "Continuing an earlier run, which has made 2 records." in done.err
    assert len(model.requests) == 3


def test_a_replay_calls_no_model_and_a_fresh_run_makes_every_call_again(
    cli: Cli, tmp_path: Path, model: ModelServer
) -> None:
    write(tmp_path)
    cli("run", "p.yaml", "s.jsonl", "-o", "a.jsonl")

    replayed = cli("run", "p.yaml", "s.jsonl", "-o", "b.jsonl", "--replay")
    calls = len(model.requests)
    fresh = cli("run", "p.yaml", "s.jsonl", "-o", "a.jsonl", "--fresh")

    assert (replayed.status, calls) == (0, 3)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert (fresh.status, len(model.requests)) == (0, 6)


def test_a_replay_without_the_calls_in_the_journal_ends_with_1(
    cli: Cli, tmp_path: Path, model: ModelServer
) -> None:
    write(tmp_path)

    done = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "--replay")

    assert done.status == 1
    assert "3 records need calls that are not in the journal" in done.err
    assert not model.requests


def test_a_dry_run_shows_prompts_and_an_estimate_and_calls_no_model(
    cli: Cli, tmp_path: Path, model: ModelServer
) -> None:
    write(tmp_path, {**ASK, "heal": {"max_attempts": 3}}, topics=tuple("abcdef"))

    printed = cli("run", "p.yaml", "s.jsonl", "--dry-run")
    as_json = cli("run", "p.yaml", "s.jsonl", "--dry-run", "--json", "--limit", "4")

    assert (printed.status, as_json.status) == (0, 0)
    assert "Seed 1, step 1: TextGenerator asks gpt-x" in printed.out
    assert "user: Tell me about b." in printed.out
    assert "Tell me about c." not in printed.out
    assert "6 records: 6 calls (at most 18 with healing)" in printed.out
    assert as_json.json["estimate"]["records"] == as_json.json["estimate"]["calls"] == 4
    assert as_json.json["seeds"][0]["prompts"][0]["messages"][-1]["content"] == "Tell me about a."
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


def test_a_preview_leaves_the_run_paused_and_ends_with_0(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path)

    done = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "--limit", "2", "--json")

    assert done.status == 0
    assert (done.json["status"], done.json["records_generated"]) == ("paused", 2)


def test_a_run_with_a_wrong_key_pauses_and_the_same_command_continues(
    cli: Cli, model: ModelServer, tmp_path: Path
) -> None:
    write(tmp_path)
    model.answer = lambda _: refusal(401, "Incorrect API key provided")

    paused = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl")
    model.answer = lambda _: "fine"
    continued = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "--json")

    assert paused.status == 1
    assert "Paused: " in paused.err
    assert "Incorrect API key provided" in paused.err
    assert "Put this right, then start the same run again" in paused.err
    assert not (tmp_path / "out.failed.jsonl").exists()
    assert continued.status == 0
    assert (continued.json["records_generated"], continued.json["advice"]) == (3, None)


def test_a_run_with_failed_records_says_how_to_make_them_again(
    cli: Cli, model: ModelServer, tmp_path: Path
) -> None:
    write(tmp_path)
    model.answer = lambda _: refusal(400, "not this")
    cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl")

    again = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl")
    as_json = cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "--json", "-q")

    advice = "Start the same run again with --retry-failed to make the 3 failed records again."
    assert advice in again.err
    assert as_json.json["advice"] == advice


def test_a_value_that_no_seed_can_hold_costs_one_record_of_a_parquet_file(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path)
    values = [1.0] * 40 + [float("inf")] + [1.0] * 9
    pq.write_table(pa.table({"topic": [f"t{n}" for n in range(50)], "x": values}), tmp_path / "s.parquet")

    checked = cli("validate", "p.yaml", "s.parquet")
    done = cli("run", "p.yaml", "s.parquet", "-o", "out.jsonl", "--json")

    assert checked.status == 2
    assert "s.parquet row 41: the column 'x' holds inf" in checked.err
    assert done.status == 1
    assert (done.json["records_generated"], done.json["records_failed"]) == (49, 1)
    assert "row 41" in (tmp_path / "out.failed.jsonl").read_text()


def test_the_format_of_standard_input_can_be_said(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path)

    refused = cli("run", "p.yaml", "-", "-o", "out.jsonl", stdin=b"topic\na\n")
    done = cli("run", "p.yaml", "-", "-o", "out.jsonl", "--seed-format", "csv", stdin=b"topic\na\n")

    assert refused.status == 2
    assert "--seed-format" in refused.err
    assert done.status == 0
    assert read_lines(tmp_path / "out.jsonl")[0]["metadata"] == {"topic": "a"}


def test_a_dash_is_no_name_for_the_records(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path)

    done = cli("run", "p.yaml", "s.jsonl", "-o", "-")

    assert done.status == 2
    assert "name one" in done.err
    assert not (tmp_path / "-").exists()


def test_how_a_csv_file_is_read_can_be_said_and_is_told(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "idx.csv").write_text(";topic\n0;a\n")

    done = cli("run", "p.yaml", "idx.csv", "--separator", ";", "-o", "out.jsonl", "-q")
    wrong = cli("validate", "p.yaml", "idx.csv", "--separator", ",")

    assert done.status == 0
    assert "idx.csv: column 1 has no name; it is called 'column_1'." in done.err
    assert read_lines(tmp_path / "out.jsonl")[0]["metadata"] == {"column_1": "0", "topic": "a"}
    assert wrong.status == 1


def test_an_integer_beyond_64_bits_keeps_its_digits_to_the_export(cli: Cli, tmp_path: Path) -> None:
    number = 2**128 - 1
    write(tmp_path)
    (tmp_path / "s.jsonl").write_text(f'{{"topic": {number}}}\n')

    cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "-q")
    cli("export", "out.jsonl", "-o", "x.jsonl", "--map", "n=topic", "--map", "q=user")

    assert read_lines(tmp_path / "out.jsonl")[0]["metadata"] == {"topic": number}
    assert read_lines(tmp_path / "x.jsonl") == [{"n": number, "q": f"Tell me about {number}."}]
