"""Files that hold much more than they seem to: they are refused, or read with little memory."""

from __future__ import annotations

import gzip
import io
import itertools
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.errors import BadInputError, TooLargeError
from penstock.seeds import Seed, UnusableSeed, UploadReader, open_seeds, parse_upload
from penstock.seeds.formats.text import read_lines
from penstock.seeds.limits import MAX_COLUMNS, MAX_JSON_ITEMS, MAX_SEED_BYTES, MAX_SEED_VALUES
from penstock.seeds.upload_check import check_upload
from support.seed_files import refusal, write

MEGABYTE = 1024 * 1024


def to_parquet(table: pa.Table, **options: Any) -> bytes:
    """The table as a Parquet file in memory."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", **options)
    return sink.getvalue()


def shared_text(rows: int, characters: int) -> pa.Table:
    """Rows that all have the same text, which the file holds once."""
    texts: Any = pa.DictionaryArray.from_arrays(np.zeros(rows, dtype=np.int32), pa.array(["a" * characters]))
    return pa.table({"text": texts})


def peak_memory() -> int:
    """The most memory that this process has had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("table", [shared_text(3000, MEGABYTE), pa.table({"n": pa.nulls(3_000_000)})])
async def test_an_upload_that_unpacks_to_gigabytes_or_millions_of_rows_is_refused(table: pa.Table) -> None:
    packed = to_parquet(table)

    assert len(packed) < 20_000
    with pytest.raises(TooLargeError, match="that are accepted"):
        await UploadReader().read("bomb.parquet", packed)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.jsonl.gz", b'{"text": "%s"}\n' % (b"a" * MEGABYTE) * 120),
        ("s.md.gz", b"a" * 70 * MEGABYTE),
        ("s.jsonl.gz", b'{"text": "%s"}\n' % (b"a" * 40 * MEGABYTE)),
        ("s.csv.gz", b'text\n"' + (b"a" * 1000 + b"\n") * 35_000),
    ],
)
async def test_a_compressed_upload_is_limited_by_what_it_unpacks_to(name: str, content: bytes) -> None:
    packed = gzip.compress(content, 1)

    with pytest.raises(BadInputError, match=r"accepted|larger than|longer than"):
        await UploadReader().read(name, packed)


def test_an_upload_has_a_limited_number_of_seeds() -> None:
    with pytest.raises(TooLargeError, match="more than the 500,000 seeds"):
        for _ in check_upload(itertools.repeat(Seed({})), "s.csv", 10**9):
            pass


async def test_the_seeds_of_an_upload_are_the_same_wherever_it_is_read() -> None:
    rows = b'{"n": 123456789012345678901234567890, "x": 0.1, "text": "\\u00e9 \\ud83d\\ude00"}\n' * 1000
    rows += b'{"metadata": {"a": [1, {"b": null}]}, "repetitions": 3}\n'
    upload = UploadReader()

    for name, content in (("s.jsonl", rows), ("s.jsonl.gz", gzip.compress(rows))):
        with await upload.read(name, content) as source:
            assert list(source) == list(source) == list(parse_upload("s.jsonl", rows))
            assert source.total == 1003


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.jsonl", b'{"a": 1}\n' * 5000 + b"{bad}\n", "s.jsonl line 5001: this is not valid JSON"),
        ("s.csv", b"a,b\n" + b"1,2\n" * 10_000 + b"1\n", "s.csv line 10002: 1 cells"),
        ("s.parquet", b"PAR1" * 100, "s.parquet is not a readable Parquet file"),
        ("s.jsonl", b"\n" * 40_000, "The seed file holds no seeds."),
        ("s.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 10_000)[:-12], "s.jsonl.gz cannot be unpacked"),
        ("s.txt.gz", b"", "Only .json or .md files are accepted"),
    ],
)
async def test_what_is_wrong_in_an_upload_is_told_from_the_process_that_reads_it(
    name: str, content: bytes, message: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        await UploadReader().read(name, content)

    assert message in caught.value.message


def test_a_text_that_many_rows_share_takes_its_memory_once(tmp_path: Path) -> None:
    write(tmp_path / "s.parquet", to_parquet(shared_text(200, MEGABYTE)))
    before = peak_memory()

    with open_seeds(tmp_path / "s.parquet") as seeds:
        seeds.check()
        count = sum(len(seed.metadata["text"]) for seed in seeds)
        sample = seeds.head(1000)

    assert count == 200 * MEGABYTE
    assert len(sample) < 20
    assert peak_memory() - before < 150 * MEGABYTE


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([[0] * 3_000_000], pa.list_(pa.int8())), "row 1 has more than 100,000 values"),
        (pa.array([["a" * MEGABYTE] * 600]), "after row 0: it needs too much memory"),
        (pa.array([[{"x": [0] * 1000}] * 1100]), "row 1 has more than 100,000 values"),
    ],
)
def test_a_row_that_unfolds_to_very_much_is_refused(tmp_path: Path, column: Any, message: str) -> None:
    before = peak_memory()

    found = refusal(tmp_path / "s.parquet", to_parquet(pa.table({"x": column})))

    assert message in found
    assert peak_memory() - before < 150 * MEGABYTE


def test_a_long_row_costs_only_itself(tmp_path: Path) -> None:
    table = pa.table({"x": [[1], list(range(MAX_SEED_VALUES + 1)), [3]]})
    write(tmp_path / "s.parquet", to_parquet(table))

    first, second, third = open_seeds(tmp_path / "s.parquet").entries()

    assert (first, third) == (Seed({"x": [1]}), Seed({"x": [3]}))
    assert isinstance(second, UnusableSeed)


def test_a_parquet_file_with_millions_of_rows_is_opened_without_reading_them(tmp_path: Path) -> None:
    write(tmp_path / "s.parquet", to_parquet(pa.table({"n": pa.nulls(2_000_000)})))

    with open_seeds(tmp_path / "s.parquet") as seeds:
        assert seeds.total == 2_000_000
        seeds.check()
        assert list(itertools.islice(seeds, 2)) == [Seed({"n": None})] * 2


def test_the_number_of_columns_is_limited_and_none_is_compared_with_all_others(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(MAX_COLUMNS + 1)]

    def to_csv(count: int) -> str:
        return ",".join(names[:count]) + "\n" + ",".join(["1"] * count)

    assert "10,001 columns" in refusal(tmp_path / "s.csv", to_csv(MAX_COLUMNS + 1))
    assert "10,001 columns" in refusal(
        tmp_path / "s.parquet", to_parquet(pa.table({name: pa.nulls(1) for name in names}))
    )
    write(tmp_path / "s.csv", to_csv(MAX_COLUMNS))
    (seed,) = open_seeds(tmp_path / "s.csv")
    assert len(seed.metadata) == MAX_COLUMNS


def test_very_many_columns_without_a_name_are_told_in_few_lines(tmp_path: Path) -> None:
    write(tmp_path / "s.csv", ",".join(["a"] + [""] * 5000 + ["b"]) + "\n" + ",".join(["1"] * 5002))

    notes = open_seeds(tmp_path / "s.csv").notes

    assert len(notes) == 6
    assert "4995 more columns" in notes[-1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.jsonl", b'{"a": 1}\n{"a": "' + b"x" * MAX_SEED_BYTES, "line 2: it is longer than 32 MB"),
        ("s.csv", b"a\n1\n" + b"x" * (MAX_SEED_BYTES + 1), "line 3: it is longer than 32 MB"),
        (
            "s.csv",
            b'a\n1\n"' + (b"x" * 1023 + b"\n") * (MAX_SEED_BYTES // 900),
            "close the quotation mark",
        ),
        ("s.csv", b"a\n1\n" + b"," * (MAX_SEED_BYTES // 2), "line 3: more than 1,000,000 cells"),
        ("s.json", b"[" + b"[]," * (MAX_JSON_ITEMS // 2 + 1), "holds too many values"),
        ("s.jsonl", b'{"a": [' + b"[]," * (MAX_JSON_ITEMS // 2 + 1), "line 1 holds too many values"),
        ("s.jsonl", b'{"a": [' + b"1," * MAX_SEED_VALUES + b"1]}", "line 1 has more than 100,000 values"),
        ("s.json", b'{"metadata": {"a": %s}}' % (b"[" * 5000 + b"]" * 5000), "The JSON file is invalid"),
        ("s.jsonl", b'{"a": %s}' % (b"[" * 5000 + b"]" * 5000), "line 1: this is not valid JSON"),
        ("s.jsonl", b'{"a": %s}' % (b"[" * 900 + b"]" * 900), "nested more than 100 levels deep"),
        ("s.jsonl", b'{"a": %s}' % (b"9" * 100_000), "line 1: this is not valid JSON"),
        ("s.md", b"x" * (65 * MEGABYTE), "larger than 64 MB; Markdown files are loaded whole"),
    ],
)
def test_what_takes_far_more_memory_than_a_seed_may_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    assert message in refusal(tmp_path / name, content)


def test_lines_end_with_lf_cr_lf_or_cr_wherever_pieces_are_cut() -> None:
    pad = b"x" * MEGABYTE
    content = b"\xef\xbb\xbfa\r\nb\rc\n\r\n" + pad[:-12] + b"\r\n" + pad + b"\r" + pad + pad + b"\nd\re"

    lines = list(read_lines(io.BytesIO(content), "s"))

    assert lines == content.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True)


def test_a_large_file_with_cr_alone_is_read_line_by_line(tmp_path: Path) -> None:
    row = b'{"a": "%s"}\r' % (b"x" * 1_000_000)
    write(tmp_path / "s.jsonl", row * 40)

    assert sum(1 for _ in open_seeds(tmp_path / "s.jsonl")) == 40
