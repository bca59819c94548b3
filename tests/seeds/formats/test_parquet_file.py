"""Parquet seed files."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.errors import BadInputError
from penstock.seeds import open_seeds
from support.seed_files import refusal


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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.parquet", b"PAR1nonsense", "s.parquet is not a readable Parquet file"),
    ],
)
def test_an_error_in_the_file_is_reported_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    assert message in refusal(tmp_path / name, content)


def test_nested_parquet_values_are_converted_at_every_depth(tmp_path: Path) -> None:
    time = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC)
    table = pa.table(
        {
            "turns": [[{"at": time, "price": Decimal("2.00")}, {"at": None, "price": Decimal("0.25")}]],
            "counts": pa.array([[("one", 1), ("two", 2)]], pa.map_(pa.string(), pa.int64())),
            "span": [datetime.timedelta(minutes=1, milliseconds=500)],
            "hour": [datetime.time(7, 5)],
        }
    )
    pq.write_table(table, tmp_path / "s.parquet")

    (seed,) = open_seeds(tmp_path / "s.parquet")

    assert seed.metadata == {
        "turns": [{"at": "2024-02-29T12:30:00+00:00", "price": 2}, {"at": None, "price": 0.25}],
        "counts": {"one": 1, "two": 2},
        "span": 60.5,
        "hour": "07:05:00",
    }


def test_a_nested_parquet_value_that_json_cannot_hold_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [[{"y": 1.0}], [{"y": float("inf")}]]}), tmp_path / "s.parquet")

    with pytest.raises(BadInputError, match="row 2: the column 'x' holds inf"):
        list(open_seeds(tmp_path / "s.parquet"))


def test_a_large_parquet_file_is_read_in_batches_in_the_order_of_its_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": list(range(3000))}), tmp_path / "s.parquet", row_group_size=700)

    seeds = open_seeds(tmp_path / "s.parquet")

    assert [seed.metadata["n"] for seed in seeds] == list(range(3000))
    assert seeds.total == 3000
