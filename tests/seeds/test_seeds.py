"""Seed files: every form, and what is said of those that cannot be used."""

from __future__ import annotations

import datetime
import io
import json
import os
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import BadInputError, PipelineError, TooLargeError
from penstock.seeds import Seed, SeedSource, open_seeds, parse_upload


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path, content: str | bytes) -> str:
    with pytest.raises(BadInputError) as caught:
        list(open_seeds(write(path, content)))
    return caught.value.message


def upload_refusal(name: str, content: str) -> str:
    with pytest.raises(BadInputError) as caught:
        parse_upload(name, content.encode())
    return caught.value.message


@pytest.mark.row("A155", "A166", "A167")
def test_a_json_array_gives_seeds_with_their_repetitions(tmp_path: Path) -> None:
    file = write(
        tmp_path / "s.json",
        '[{"repetitions": 3, "metadata": {"a": 1}}, {"metadata": {"a": 2}}, {"metadata": {}}]',
    )

    seeds = open_seeds(file)

    assert list(seeds) == [Seed({"a": 1}, 3), Seed({"a": 2}, 1), Seed({}, 1)]
    assert seeds.total == 5


@pytest.mark.row("A166")
def test_a_single_object_is_one_seed(tmp_path: Path) -> None:
    seeds = open_seeds(write(tmp_path / "s.json", '{"metadata": {"topic": "tea"}}'))

    assert list(seeds) == [Seed({"topic": "tea"}, 1)]


@pytest.mark.row("A167", "A168")
@pytest.mark.parametrize(
    ("written", "counted"),
    [
        ("3", 3),
        ("0", 0),
        ("-2", 0),
        ("true", 1),
        ('"4"', 1),
        ("2.0", 1),
        ("null", 1),
        ("[2]", 1),
        ("1e30", 1),
    ],
)
def test_repetitions_that_are_no_whole_number_count_as_one(
    tmp_path: Path, written: str, counted: int
) -> None:
    file = write(tmp_path / "s.json", f'[{{"metadata": {{}}, "repetitions": {written}}}]')

    seeds = open_seeds(file)

    assert [seed.repetitions for seed in seeds] == [counted]
    assert seeds.total == counted


@pytest.mark.row("A156", "A157", "A158", "A159", "A160", "A161", "A169", "D18")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("seed.txt", "x", "Only .json or .md files are accepted"),
        ("seed", "x", "Only .json or .md files are accepted"),
        ("seed.json", "{bad", "The JSON file is invalid: "),
        ("seed.json", "{bad", "Please check your file syntax."),
        ("seed.json", "5", "The JSON file must contain an object or an array of objects."),
        ("seed.json", '"x"', "The JSON file must contain an object or an array of objects."),
        ("seed.json", "[5]", "Seed 1 must be an object. Please check your file structure."),
        ("seed.json", '[{"repetitions": 1}]', "Seed 1 is missing the required 'metadata' field."),
        ("seed.json", '[{"metadata": {}}, {}]', "Seed 2 is missing the required 'metadata' field."),
        ("seed.json", '[{"metadata": [1]}]', "Seed 1 has a 'metadata' field that is not an object."),
        ("seed.json", "[]", "The seed file holds no seeds."),
        ("seed.json", "", "The JSON file is invalid: "),
        ("seed.json", '{"metadata": {"a": NaN}}', "The JSON file is invalid: "),
        ("seed.md", " \n\t", "Markdown file is empty"),
        ("seed.jsonl", "\n\n", "The seed file holds no seeds."),
        ("seed.csv", "a,b\n", "The seed file holds no seeds."),
    ],
)
def test_an_upload_that_cannot_be_used_is_told_why(name: str, content: str, message: str) -> None:
    assert message in upload_refusal(name, content)


@pytest.mark.row("A157")
def test_a_markdown_upload_is_one_seed() -> None:
    seeds = parse_upload("notes.MD", b"# A\n\ntext")

    assert list(seeds) == [Seed({"file_content": "# A\n\ntext"}, 1)]
    assert seeds.total == 1


@pytest.mark.row("A163")
def test_an_upload_over_ten_megabytes_is_too_large() -> None:
    with pytest.raises(TooLargeError, match="10 MB"):
        parse_upload("seed.json", b" " * (10 * 1024 * 1024 + 1))


@pytest.mark.row("A163")
def test_an_upload_that_unpacks_to_much_more_is_too_large() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["x" * 5_000_000]}), sink, use_dictionary=False, compression="zstd")
    packed = sink.getvalue()

    with pytest.raises(TooLargeError, match="unpacked"):
        parse_upload("bomb.parquet", packed, max_bytes=len(packed), max_unpacked_bytes=1_000_000)

    assert parse_upload("large.parquet", packed, max_bytes=len(packed)).total == 1


@pytest.mark.row("A170")
def test_a_repetition_does_not_see_what_another_changed() -> None:
    seed = Seed({"tags": ["a"], "deep": {"n": [1]}}, 2)

    first = seed.fresh()
    first["tags"].append("b")
    first["deep"]["n"].clear()

    assert seed.fresh() == {"tags": ["a"], "deep": {"n": [1]}}


@pytest.mark.row("D18")
def test_a_jsonl_line_is_a_seed_or_its_variables(tmp_path: Path) -> None:
    file = write(
        tmp_path / "s.jsonl", '{"metadata": {"a": 1}, "repetitions": 2}\r\n\n{"a": 2, "repetitions": 9}'
    )

    seeds = open_seeds(file)

    assert list(seeds) == [Seed({"a": 1}, 2), Seed({"a": 2, "repetitions": 9}, 1)]
    assert seeds.total == 3


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


@pytest.mark.row("D18")
def test_a_parquet_row_is_one_seed_in_the_types_of_json(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(
        [
            {
                "text": "x",
                "n": 3,
                "score": 0.5,
                "tags": ["a", "b"],
                "inner": {"k": 1},
                "day": datetime.date(2024, 2, 29),
                "price": Decimal("1.50"),
                "raw": b"bytes",
                "gone": None,
            }
        ]
    )
    pq.write_table(table, tmp_path / "s.parquet")

    seeds = open_seeds(tmp_path / "s.parquet")

    assert [seed.metadata for seed in seeds] == [
        {
            "text": "x",
            "n": 3,
            "score": 0.5,
            "tags": ["a", "b"],
            "inner": {"k": 1},
            "day": "2024-02-29",
            "price": 1.5,
            "raw": "bytes",
            "gone": None,
        }
    ]
    assert seeds.total == 1


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "parquet", "md"])
def test_seeds_can_be_read_again(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"s.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"a": ["1", "2"]}), file)
    else:
        write(
            file,
            {"json": '{"metadata": {"a": "1"}}', "jsonl": '{"a": "1"}', "csv": "a\n1"}.get(suffix, "# 1"),
        )

    seeds = open_seeds(file)

    assert list(seeds) == list(seeds) != []
    assert seeds.head(1) == [next(iter(seeds)).metadata]
    assert len(seeds.digest) == 64


def test_two_readings_of_a_pipe_may_overlap(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    rows = [{"n": number, "pad": "x" * 500} for number in range(5000)]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    writer = threading.Thread(target=pipe.write_text, args=(content,))
    writer.start()

    with open_seeds(pipe) as seeds:
        writer.join()
        first, second = iter(seeds), iter(seeds)
        overlapped = [(next(first).metadata["n"], next(second).metadata["n"]) for _ in rows]

    assert overlapped == [(n, n) for n in range(5000)]
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize(
    ("content", "format_"),
    [
        (b'[{"metadata": {"a": 1}}]', "json"),
        (b'{"a": 1}\n{"a": 2}\n', "jsonl"),
        (b'{\n"metadata": {}}', "json"),
    ],
)
def test_the_format_of_standard_input_is_told_from_its_beginning(
    monkeypatch: pytest.MonkeyPatch, content: bytes, format_: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    with open_seeds("-") as seeds:
        assert seeds.format == format_
        assert list(seeds) == list(seeds)


def test_standard_input_of_unknown_format_is_refused_unless_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a,b\n1,2\n")))
    with pytest.raises(BadInputError, match="say which it is"):
        open_seeds("-")

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a,b\n1,2\n")))
    with open_seeds("-", format="csv") as seeds:
        assert list(seeds) == [Seed({"a": "1", "b": "2"})]


@pytest.mark.parametrize(
    ("name", "content", "words"),
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
        ("s.csv", "a,b\n1,2\n\n1,2,3\n", "s.csv line 4: 3 cells, but the header names 2 columns"),
        ("s.csv", "a,b\n1\n", "s.csv line 2: 1 cells, but the header names 2 columns"),
        ("s.csv", "a,b,a\n1,2,3\n", "s.csv line 1: the column 'a' is there twice"),
        ("s.csv", ",b\n1,2\n", "s.csv line 1: column 1 has no name"),
        ("s.csv", 'a,b\n1,"2\n', "not valid CSV"),
        ("s.csv", b"a,b\n1,\xe9\n", "s.csv line 2: this is not UTF-8 text"),
        ("s.csv", b"a,b\n1,\0\n", "s.csv line 2: this is binary data"),
        ("s.csv", "", "s.csv: The seed file holds no seeds."),
        ("s.json", "[1]", "s.json: Seed 1 must be an object"),
        ("s.json", "\ufeff{bad".encode("utf-16"), "s.json line 1: this is not UTF-8 text"),
        ("s.json", "[" * 100_000, "The JSON file is invalid"),
        ("s.json", '{"metadata": {"a": ' + "[" * 200 + "]" * 200 + "}}", "nested more than 100 levels"),
        ("s.jsonl", '{"a": ' + "[" * 200 + "]" * 200 + "}", "nested more than 100 levels"),
        ("s.json", '{"metadata": {"a": "\\ud800"}}', "The JSON file is invalid"),
        ("s.json", '{"metadata": {}, "repetitions": 99999999999}', "asks for 99999999999 repetitions"),
        ("s.md", b"\x89PNG\0\0", "s.md line 1: this is not UTF-8 text"),
        ("s.md", b"ab\n\0", "s.md line 2: this is binary data"),
        ("s.parquet", b"PAR1nonsense", "s.parquet is not a readable Parquet file"),
        ("s.txt", "x", "s.txt: only .json, .jsonl, .csv, .parquet or .md files are accepted"),
    ],
)
def test_a_fault_in_a_seed_file_is_named_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    assert words in refusal(tmp_path / name, content)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([1.0, float("nan")]), "row 2: the column 'x' holds nan"),
        (pa.array([b"ok", b"\xff"]), "row 2: the column 'x' holds binary data"),
    ],
)
def test_a_parquet_value_that_json_cannot_hold_is_named(tmp_path: Path, column: Any, words: str) -> None:
    pq.write_table(pa.table({"x": column}), tmp_path / "s.parquet")

    with pytest.raises(BadInputError, match=words):
        list(open_seeds(tmp_path / "s.parquet"))


def test_columns_of_the_same_name_are_refused_in_parquet(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    pq.write_table(table, tmp_path / "s.parquet")

    with pytest.raises(BadInputError, match="'x' twice"):
        open_seeds(tmp_path / "s.parquet")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"no seed file .*gone\.json"):
        open_seeds(tmp_path / "gone.json")
    with pytest.raises(BadInputError, match="is a folder"):
        open_seeds(tmp_path)


def test_a_file_larger_than_what_is_accepted_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "s.jsonl", '{"a": 1}\n' * 100)

    with pytest.raises(TooLargeError):
        open_seeds(file, max_bytes=899)

    assert open_seeds(file, max_bytes=900).total == 100


def test_a_text_larger_than_the_csv_modules_own_limit_is_read(tmp_path: Path) -> None:
    seeds = open_seeds(write(tmp_path / "s.csv", "text\n" + "x" * 1_000_000))

    assert [len(seed.metadata["text"]) for seed in seeds] == [1_000_000]


def test_example_seeds_in_memory_have_the_form_of_a_file() -> None:
    seeds = SeedSource.from_data([{"repetitions": 2, "metadata": {"content": "x"}}])

    assert list(seeds) == [Seed({"content": "x"}, 2)]
    assert seeds.total == 2


@given(
    st.binary(max_size=200),
    st.sampled_from(["s.json", "s.jsonl", "s.csv", "s.md", "s.parquet", "s.tsv"]),
)
def test_no_content_makes_anything_but_seeds_or_a_clear_error(content: bytes, name: str) -> None:
    try:
        seeds = list(parse_upload(name, content))
    except PipelineError as error:
        assert error.message  # noqa: PT017 - either outcome is right
    else:
        assert all(isinstance(seed, Seed) for seed in seeds)


@given(st.text(alphabet='{}[]",:;\n\r\t a1\\', max_size=60), st.sampled_from(["s.json", "s.jsonl", "s.csv"]))
def test_no_text_made_of_marks_makes_anything_but_seeds_or_a_clear_error(content: str, name: str) -> None:
    try:
        seeds = list(parse_upload(name, content.encode()))
    except PipelineError as error:
        assert error.message  # noqa: PT017 - either outcome is right
    else:
        assert all(isinstance(seed, Seed) for seed in seeds)
