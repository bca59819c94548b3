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
from penstock.seeds import Seed, UnusableSeed, open_seeds
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
        (pa.array([1.0, float("inf")]), "row 2: the column 'x' holds inf"),
        (pa.array(["a", "\0"]), "row 2 has a null character"),
        (pa.array([0, -62135596801000000], pa.timestamp("us")), "row 2: the column 'x' holds a date outside"),
        (pa.array([0, 10**9], pa.date32()), "row 2: the column 'x' holds a date outside"),
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


def read_values(folder: Path, *columns: Any) -> list[list[Any]]:
    """The values of these columns, each as seeds have them."""
    table = pa.table({str(number): column for number, column in enumerate(columns)})
    pq.write_table(table, folder / "s.parquet")
    seeds = [seed.metadata for seed in open_seeds(folder / "s.parquet")]
    return [[seed[name] for seed in seeds] for name in table.column_names]


def test_times_keep_their_nanoseconds(tmp_path: Path) -> None:
    when = [1704164645678901234, 1704164645678901000, 1704164645000000000, -1, None]

    plain, zoned, nested, clock, span = read_values(
        tmp_path,
        pa.array(when, pa.timestamp("ns")),
        pa.array(when, pa.timestamp("ns", "Europe/Paris")),
        pa.array([[value] for value in when], pa.list_(pa.timestamp("ns"))),
        pa.array([1, 1_000, 10**9, 86_399_999_999_999, None], pa.time64("ns")),
        pa.array([1_500_000_000, 1, 10**18 + 1, -1, None], pa.duration("ns")),
    )

    assert plain == [
        "2024-01-02T03:04:05.678901234",
        "2024-01-02T03:04:05.678901",
        "2024-01-02T03:04:05",
        "1969-12-31T23:59:59.999999999",
        None,
    ]
    assert zoned[:3] == [
        "2024-01-02T04:04:05.678901234+01:00",
        "2024-01-02T04:04:05.678901+01:00",
        "2024-01-02T04:04:05+01:00",
    ]
    assert nested == [[value] for value in plain]
    assert clock == ["00:00:00.000000001", "00:00:00.000001", "00:00:01", "23:59:59.999999999", None]
    assert span == [1.5, 1e-09, "1000000000.000000001", -1e-09, None]


def test_values_that_python_has_no_type_for_are_converted_inside_of_any_other(tmp_path: Path) -> None:
    stamp = pa.timestamp("ns")
    maps = pa.array([[("a", 1)], None], pa.map_(pa.string(), stamp))
    structs = pa.array([{"at": 1, "n": float("nan")}, None], pa.struct([("at", stamp), ("n", pa.float64())]))
    words = pa.array([1, 1], stamp).dictionary_encode()

    assert read_values(tmp_path, maps, structs, words) == [
        [{"a": "1970-01-01T00:00:00.000000001"}, None],
        [{"at": "1970-01-01T00:00:00.000000001", "n": None}, None],
        ["1970-01-01T00:00:00.000000001"] * 2,
    ]


def test_not_a_number_is_null(tmp_path: Path) -> None:
    (values,) = read_values(tmp_path, pa.array([1.0, float("nan"), None]))

    assert values == [1.0, None, None]


def test_decimals_keep_all_their_digits(tmp_path: Path) -> None:
    written = ["1.50", "2.00", "12345678901234567890.12", "99999999999999999999.00"]

    (values,) = read_values(tmp_path, pa.array([Decimal(value) for value in written], pa.decimal128(38, 2)))

    assert values == [1.5, 2, "12345678901234567890.12", 99999999999999999999]


def test_a_value_that_cannot_be_used_costs_only_its_own_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, float("inf"), 3.0]}), tmp_path / "s.parquet")

    seeds = open_seeds(tmp_path / "s.parquet")

    first, second, third = seeds.entries()
    assert (first, third) == (Seed({"x": 1.0}), Seed({"x": 3.0}))
    assert isinstance(second, UnusableSeed)
    with pytest.raises(BadInputError, match="row 2"):
        seeds.check()
