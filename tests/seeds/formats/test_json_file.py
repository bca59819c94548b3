"""JSON seed files."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.seeds import Seed, open_seeds
from support.seed_files import refusal, write


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.json", "[1]", "s.json: Seed 1 must be an object"),
        ("s.json", "\ufeff{bad".encode("utf-16"), "s.json line 1: this is not UTF-8 text"),
        ("s.json", "[" * 100_000, "The JSON file is invalid"),
        ("s.json", '{"metadata": {"a": ' + "[" * 200 + "]" * 200 + "}}", "nested more than 100 levels"),
        ("s.json", '{"metadata": {"a": "\\ud800"}}', "The JSON file is invalid"),
        ("s.json", '{"metadata": {}, "repetitions": 99999999999}', "asks for 99999999999 repetitions"),
    ],
)
def test_an_error_in_the_file_is_reported_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    assert message in refusal(tmp_path / name, content)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_json_file_may_begin_with_a_byte_order_mark_and_have_windows_line_ends(
    tmp_path: Path, mark: str
) -> None:
    seeds = open_seeds(write(tmp_path / "s.json", mark + '[\r\n{"metadata": {"a": "é"}}\r\n]\r\n'))

    assert list(seeds) == [Seed({"a": "é"})]
