"""CSV and TSV seed files."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import BadInputError
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


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("Question: a, b, or c?;text\nx;y\n", ["Question: a, b, or c?", "text"]),
        ("a,b;c\n1;2\n3;4\n", ["a,b", "c"]),
        ("a;b\n1,5;2,5\n3,5;4,5\n", ["a", "b"]),
        ("id\tname, first; last\n1\tx\n2\ty\n", ["id", "name, first; last"]),
        ("text\nhello, world\none; two, three\nfour\n", ["text"]),
        ("a|b, c\n1|x, y\n2|z\n", ["a", "b, c"]),
        ('"a, b";c\n"1, 2";3\n', ["a, b", "c"]),
        ("\n\na;b\n1;2\n", ["a", "b"]),
    ],
)
def test_the_separator_is_the_one_that_the_rows_have(
    tmp_path: Path, content: str, columns: list[str]
) -> None:
    seed, *_ = open_seeds(write(tmp_path / "s.csv", content))

    assert list(seed.metadata) == columns


def test_a_row_that_does_not_fit_is_refused_with_the_separator(tmp_path: Path) -> None:
    message = refusal(tmp_path / "s.csv", "a;b\n1;2\n3;4;5\n")

    assert "line 3: 3 cells, but the header names 2 columns, separated by ';'" in message
    assert "--separator" in message


@pytest.mark.parametrize("separator", [";", "semicolon"])
def test_a_separator_that_is_given_is_taken(tmp_path: Path, separator: str) -> None:
    file = write(tmp_path / "s.csv", "a,b,c;d\n1,2,3;4\n")

    seeds = open_seeds(file, separator=separator)

    assert list(seeds) == [Seed({"a,b,c": "1,2,3", "d": "4"})]
    assert seeds.digest != open_seeds(file).digest


def test_a_separator_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "s.csv", "a\n1\n")
    write(tmp_path / "s.jsonl", "{}")

    for name, separator, message in (
        ("s.csv", ";;", "one character"),
        ("s.csv", "\n", "one character"),
        ("s.jsonl", ";", "is not a CSV file"),
    ):
        with pytest.raises(BadInputError, match=message):
            open_seeds(tmp_path / name, separator=separator)


@pytest.mark.parametrize("first", ["sep=;\n", "sep=;\r\n", '"sep=;"\n', "SEP=;\n", "\ufeffsep=;\r\n"])
def test_the_first_line_that_excel_reads_names_the_separator(tmp_path: Path, first: str) -> None:
    file = write(tmp_path / "s.csv", first + "a,b,c;d\n1;2\n")

    assert list(open_seeds(file)) == [Seed({"a,b,c": "1", "d": "2"})]
    assert "line 3: 1 cells" in refusal(tmp_path / "s.csv", first + "a;b\n1\n")


def test_a_column_without_a_name_gets_one_and_a_note_says_so(tmp_path: Path) -> None:
    seeds = open_seeds(write(tmp_path / "idx.csv", ",text,,column_1\n0,a,b,c\n"))

    assert list(seeds) == [Seed({"column_1_": "0", "text": "a", "column_3": "b", "column_1": "c"})]
    assert seeds.notes == (
        "idx.csv: column 1 has no name; it is called 'column_1_'.",
        "idx.csv: column 3 has no name; it is called 'column_3'.",
    )


@pytest.mark.parametrize(
    "content", ["text,\na\nb,\n", "text,,\na,,\nb,,\n", "text\na,\nb,,\n", "text;\na;\nb\n"]
)
def test_separators_at_the_end_of_lines_make_no_columns(tmp_path: Path, content: str) -> None:
    seeds = open_seeds(write(tmp_path / "s.csv", content))

    assert list(seeds) == [Seed({"text": "a"}), Seed({"text": "b"})]
    assert bool(seeds.notes) is (content[4] != "\n")


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_lines_may_have_any_end(tmp_path: Path, end: str) -> None:
    content = end.join(["a,b", "1,2", '3,"4', '5"', ""])

    seeds = open_seeds(write(tmp_path / "s.csv", content))

    assert list(seeds) == [Seed({"a": "1", "b": "2"}), Seed({"a": "3", "b": f"4{end}5"})]


def test_a_file_in_another_encoding_is_refused_with_what_to_do(tmp_path: Path) -> None:
    assert "UTF-16. Save the file as UTF-8" in refusal(tmp_path / "s.csv", "a,b\n1,2\n".encode("utf-16"))
    assert "line 2: this is not UTF-8 text. Save the file as UTF-8, in Excel as 'CSV UTF-8'" in refusal(
        tmp_path / "s.csv", "a,b\n1,é\n".encode("latin-1")
    )
