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


@pytest.mark.parametrize(
    ("line", "variables"),
    [
        (
            '{"text": "Rain.", "metadata": {"source": "a.txt"}}',
            {"text": "Rain.", "metadata": {"source": "a.txt"}},
        ),
        ('{"text": "Rain.", "metadata": null}', {"text": "Rain.", "metadata": None}),
        ('{"text": "Rain.", "metadata": "note"}', {"text": "Rain.", "metadata": "note"}),
        (
            '{"metadata": "note", "repetitions": 3, "a": 1}',
            {"metadata": "note", "repetitions": 3, "a": 1},
        ),
        ('{"repetitions": 3}', {"repetitions": 3}),
    ],
)
def test_a_row_keeps_all_its_columns_whatever_they_are_called(
    tmp_path: Path, line: str, variables: dict[str, object]
) -> None:
    assert list(open_seeds(write(tmp_path / "s.jsonl", line))) == [Seed(variables)]


def test_a_line_that_may_be_meant_in_two_ways_is_refused_with_what_would_be_lost(tmp_path: Path) -> None:
    line = '{"metadata": {"a": 1}, "note": "x", "repetitions": 2}'

    assert "s.jsonl line 1 has 'note' beside 'metadata' and 'repetitions'" in refusal(
        tmp_path / "s.jsonl", line
    )


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("340282366920938463463374607431768211455", 340282366920938463463374607431768211455),
        ("-9223372036854775809", -9223372036854775809),
        ("18446744073709551616", 18446744073709551616),
        ('{"ids": [12345678901234567890123]}', {"ids": [12345678901234567890123]}),
        ("0.1234567890123456789012", "0.1234567890123456789012"),
        ("1234567890.12345678901234", "1234567890.12345678901234"),
        ("0.30000000000000004", 0.30000000000000004),
        ("0.1000000000000000055511151231257827", 0.1),
        ("1.5e300", 1.5e300),
    ],
)
def test_a_number_keeps_all_its_digits(tmp_path: Path, written: str, value: object) -> None:
    (seed,) = open_seeds(write(tmp_path / "s.jsonl", f'{{"text": {written}}}'))

    assert seed.metadata == {"text": value}
    assert type(seed.metadata["text"]) is type(value)


@pytest.mark.parametrize("line", ['{"a": "x\\u0000y"}', '{"a": [{"b": "\\u0000"}]}', '{"\\u0000": 1}'])
def test_a_null_character_is_refused_with_the_line(tmp_path: Path, line: str) -> None:
    assert "s.jsonl line 2 has a null character" in refusal(tmp_path / "s.jsonl", '{"a": 1}\n' + line)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_has_no_word_for_is_refused_with_what_to_write(tmp_path: Path, word: str) -> None:
    message = refusal(tmp_path / "s.jsonl", f'{{"a": {word}}}\n')

    assert f"s.jsonl line 1: this is not valid JSON: {word} is no value in JSON, use null instead" in message


def test_lines_may_end_with_cr_alone(tmp_path: Path) -> None:
    seeds = open_seeds(write(tmp_path / "s.jsonl", '{"a": 1}\r{"a": 2}\r\r{"a": 3}'))

    assert [seed.metadata["a"] for seed in seeds] == [1, 2, 3]
