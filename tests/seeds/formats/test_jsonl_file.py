"""JSONL seed files."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.seeds import Seed, open_seeds
from support.seed_files import refusal, write


@pytest.mark.row("D18")
def test_a_jsonl_line_is_a_seed_or_its_variables(tmp_path: Path) -> None:
    file = write(
        tmp_path / "s.jsonl", '{"metadata": {"a": 1}, "repetitions": 2}\r\n\n{"a": 2, "repetitions": 9}'
    )

    seeds = open_seeds(file)

    assert list(seeds) == [Seed({"a": 1}, 2), Seed({"a": 2, "repetitions": 9}, 1)]
    assert seeds.total == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.jsonl", '{"a": 1}\n{"a": \n', "s.jsonl line 2: this is not valid JSON"),
        ("s.jsonl", '{"a": 1}\n[1]\n', "s.jsonl line 2: each line must be an object"),
        (
            "s.jsonl",
            '{"a": 1}\n{"metadata": 5}\n',
            "s.jsonl line 2 has a 'metadata' field that is not an object",
        ),
        ("s.jsonl", '{"a": NaN}\n', "s.jsonl line 1: this is not valid JSON"),
        ("s.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', "s.jsonl line 2: this is not UTF-8 text"),
        ("s.jsonl", '{"a": ' + "[" * 200 + "]" * 200 + "}", "nested more than 100 levels"),
    ],
)
def test_an_error_in_the_file_is_reported_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    assert message in refusal(tmp_path / name, content)


def test_a_jsonl_file_may_have_a_byte_order_mark_windows_line_ends_and_empty_lines(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf\r\n{"a": 1}\r\n  \r\n\t{"a": 2}  \r\n\r\n'

    seeds = open_seeds(write(tmp_path / "s.ndjson", content))

    assert list(seeds) == [Seed({"a": 1}), Seed({"a": 2})]
    assert seeds.total == 2


def test_the_line_of_an_error_counts_empty_lines_too(tmp_path: Path) -> None:
    assert "s.jsonl line 4: this is not valid JSON" in refusal(tmp_path / "s.jsonl", '\n{"a": 1}\n\n{"a"}\n')
