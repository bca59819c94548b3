"""CSV and TSV seed files."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.seeds import Seed, open_seeds
from support.seed_files import refusal, write


@pytest.mark.row("D18")
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_csv_row_is_one_seed(tmp_path: Path, mark: bytes, delimiter: str) -> None:
    rows = [["name", "note, long"], ["Ann", "two\nlines"], ["Bö", ""]]
    text = "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)

    seeds = open_seeds(write(tmp_path / "s.csv", mark + text.encode()))

    assert [seed.metadata for seed in seeds] == [
        {"name": "Ann", "note, long": "two\nlines"},
        {"name": "Bö", "note, long": ""},
    ]
    assert seeds.total == 2


def test_a_csv_cell_larger_than_the_limit_of_the_csv_module_is_read(tmp_path: Path) -> None:
    seeds = open_seeds(write(tmp_path / "s.csv", "text\n" + "x" * 1_000_000))

    assert [len(seed.metadata["text"]) for seed in seeds] == [1_000_000]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.csv", "a,b\n1,2\n\n1,2,3\n", "s.csv line 4: 3 cells, but the header names 2 columns"),
        ("s.csv", "a,b\n1\n", "s.csv line 2: 1 cells, but the header names 2 columns"),
        ("s.csv", "a,b,a\n1,2,3\n", "s.csv line 1: the column 'a' is there twice"),
        ("s.csv", ",b\n1,2\n", "s.csv line 1: column 1 has no name"),
        ("s.csv", 'a,b\n1,"2\n', "not valid CSV"),
        ("s.csv", b"a,b\n1,\xe9\n", "s.csv line 2: this is not UTF-8 text"),
        ("s.csv", b"a,b\n1,\0\n", "s.csv line 2: this is binary data"),
        ("s.csv", "", "s.csv: The seed file holds no seeds."),
    ],
)
def test_an_error_in_the_file_is_reported_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    assert message in refusal(tmp_path / name, content)


def test_a_csv_file_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    content = '\ufeff"Name";"price, net"; note\r\nAnn;"1,5";\r\n\r\nBö; 2 ;x\r\n'

    seeds = open_seeds(write(tmp_path / "s.csv", content))

    assert [seed.metadata for seed in seeds] == [
        {"Name": "Ann", "price, net": "1,5", "note": ""},
        {"Name": "Bö", "price, net": " 2 ", "note": "x"},
    ]
    assert seeds.total == 2


def test_a_tsv_file_is_separated_by_tabs_whatever_its_header_holds(tmp_path: Path) -> None:
    seeds = open_seeds(write(tmp_path / "s.tsv", "a, b, c; d\te\n1\t2\n"))

    assert list(seeds) == [Seed({"a, b, c; d": "1", "e": "2"})]


def test_a_csv_file_with_one_column_needs_no_separator(tmp_path: Path) -> None:
    seeds = open_seeds(write(tmp_path / "s.csv", "text\nhello\nworld"))

    assert [seed.metadata for seed in seeds] == [{"text": "hello"}, {"text": "world"}]
