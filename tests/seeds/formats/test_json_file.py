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


def test_an_object_with_other_keys_beside_metadata_keeps_them(tmp_path: Path) -> None:
    content = '[{"metadata": {"a": 1}}, {"text": "x", "metadata": {"a": 2}}, {"text": "y", "metadata": null}]'

    seeds = open_seeds(write(tmp_path / "s.json", content))

    assert list(seeds) == [
        Seed({"a": 1}),
        Seed({"text": "x", "metadata": {"a": 2}}),
        Seed({"text": "y", "metadata": None}),
    ]


def test_integers_beyond_64_bits_keep_their_digits(tmp_path: Path) -> None:
    seeds = open_seeds(write(tmp_path / "s.json", f'{{"metadata": {{"a": {2**200}}}}}'))

    assert list(seeds) == [Seed({"a": 2**200})]


def test_a_null_character_is_refused_with_the_number_of_the_seed(tmp_path: Path) -> None:
    content = '[{"metadata": {}}, {"metadata": {"a": "\\u0000"}}]'

    assert "Seed 2 has a null character" in refusal(tmp_path / "s.json", content)
