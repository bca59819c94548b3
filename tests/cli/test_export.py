"""``penstock export``."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cli.conftest import Cli
from cli.files import write
from penstock.testing import ModelServer, last_user_message, refusal
from support.runs import read_lines


@pytest.fixture
def after_run(cli: Cli, tmp_path: Path) -> Cli:
    """The command line, after a run into ``out.jsonl``."""
    write(tmp_path)
    assert cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "-q").status == 0
    return cli


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "openai", "sharegpt", "alpaca"])
def test_a_dataset_has_its_data_its_card_and_its_pipeline(after_run: Cli, tmp_path: Path, form: str) -> None:
    done = after_run("export", "out.jsonl", "--format", form, "-o", "data set", "--json")

    assert done.status == 0
    assert done.json["rows"] == 3
    files = {path.name for path in (tmp_path / "data set").iterdir()}
    assert "README.md" in files
    assert any(name.startswith("pipeline.") for name in files)
    card = (tmp_path / "data set" / "README.md").read_text()
    assert "gpt-x" in card
    assert "s.jsonl" in card


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.jsonl", "neither a job's number nor the output"),
        ("99", "There is no job 99; the newest one is 1."),
    ],
)
def test_what_no_run_has_made_cannot_be_exported(after_run: Cli, source: str, message: str) -> None:
    done = after_run("export", source, "-o", "d")

    assert done.status == 2
    assert message in done.err


def test_an_export_is_a_file_when_a_file_is_named(after_run: Cli, tmp_path: Path) -> None:
    mapping = ("--map", "question=user", "--map", "answer=assistant")
    for form in ("jsonl", "csv", "parquet", "openai"):
        more = mapping if form != "openai" else ()
        assert after_run("export", "out.jsonl", "--format", form, "-o", f"data.{form}", *more).status == 0

    expected = {"question": "Tell me about a.", "answer": "echo: Tell me about a."}
    assert read_lines(tmp_path / "data.jsonl")[0] == expected
    with (tmp_path / "data.csv").open(newline="") as file:
        assert next(csv.DictReader(file)) == expected
    assert pq.read_table(tmp_path / "data.parquet").to_pylist()[0] == expected
    assert read_lines(tmp_path / "data.openai")[0] == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Tell me about a."},
            {"role": "assistant", "content": "echo: Tell me about a."},
        ]
    }


def test_a_job_is_exported_by_its_number_and_the_newest_one_by_default(
    after_run: Cli, tmp_path: Path
) -> None:
    newest = after_run("export", "-o", "a.jsonl", "--json")
    numbered = after_run("export", "1", "-o", "b.jsonl", "--json")

    assert newest.json["rows"] == numbered.json["rows"] == 3
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_failed_records_are_exported_only_on_request(cli: Cli, model: ModelServer, tmp_path: Path) -> None:
    write(tmp_path)
    model.answer = lambda body: refusal(400) if " b." in last_user_message(body) else "fine"
    cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl")

    by_default = cli("export", "-o", "a.jsonl", "--json")
    failed = cli("export", "-o", "b.jsonl", "--status", "failed", "--json")
    unknown = cli("export", "-o", "c.jsonl", "--status", "lost")

    assert (by_default.json["rows"], failed.json["rows"]) == (2, 1)
    assert unknown.status == 2
    assert "failed" in unknown.err


@pytest.mark.parametrize("options", [["--format", "xml"], ["--map", "answer=nowhere.at.all"]])
def test_an_export_that_fails_leaves_no_file(after_run: Cli, tmp_path: Path, options: list[str]) -> None:
    done = after_run("export", "out.jsonl", "-o", "data.jsonl", *options)

    assert done.status == 2
    assert done.err.startswith("Error: ")
    assert not (tmp_path / "data.jsonl").exists()


def test_an_export_without_records_ends_with_1(after_run: Cli, tmp_path: Path) -> None:
    done = after_run("export", "-o", "data.jsonl", "--status", "edited")

    assert done.status == 1
    assert "the job has no record with these statuses" in done.err


def test_an_export_into_the_folder_of_a_project_keeps_its_files(after_run: Cli, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# My project\n")

    refused = after_run("export", "out.jsonl", "--format", "openai", "-o", ".")

    assert refused.status == 2
    assert "README.md exists" in refused.err
    assert "--overwrite" in refused.err
    assert (tmp_path / "README.md").read_text() == "# My project\n"
    assert not (tmp_path / "train.jsonl").exists()
    assert after_run("export", "out.jsonl", "-o", ".", "--overwrite").status == 0


def test_an_export_never_replaces_the_output_of_its_run(after_run: Cli, tmp_path: Path) -> None:
    before = (tmp_path / "out.jsonl").read_bytes()

    refused = after_run("export", "out.jsonl", "-o", "out.jsonl", "--overwrite")

    assert refused.status == 2
    assert "the output of the run itself" in refused.err
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_records_that_an_export_leaves_out_are_told_with_their_number(
    cli: Cli, model: ModelServer, tmp_path: Path
) -> None:
    write(tmp_path)
    (tmp_path / "s.jsonl").write_text(
        '{"topic": "a", "o": {"a": 1}}\n{"topic": "b"}\n{"topic": "c", "o": {}}\n{"topic": "d"}\n'
    )
    model.answer = lambda body: refusal(400) if " d." in last_user_message(body) else "fine"
    cli("run", "p.yaml", "s.jsonl", "-o", "out.jsonl", "-q")

    done = cli("export", "out.jsonl", "-o", "x.jsonl", "--map", "o=o.a")
    report = cli("export", "out.jsonl", "-o", "y.jsonl", "--map", "o=o.a", "--json").json

    assert done.status == 0
    assert "2 records as jsonl, 1 left out (without 'o.a'), 1 failed not asked for (--status)" in done.err
    assert (report["skipped"], report["missing"], report["excluded"]) == (1, {"o.a": 1}, {"failed": 1})
    assert read_lines(tmp_path / "x.jsonl") == [{"o": 1}, {"o": None}]


def test_an_export_to_a_dash_goes_to_standard_output(after_run: Cli, tmp_path: Path) -> None:
    done = after_run("export", "out.jsonl", "-o", "-", "--format", "csv")

    assert done.status == 0
    assert len(list(csv.DictReader(done.out.splitlines()))) == 3
    assert not (tmp_path / "-").exists()


def test_an_export_in_a_folder_without_runs_says_so_and_makes_no_database(cli: Cli, tmp_path: Path) -> None:
    done = cli("export", "out.jsonl", "-o", "x.jsonl")

    assert done.status == 2
    assert "There is no database" in done.err
    assert not (tmp_path / "data").exists()
