"""The file of a run is appended while it is written, and in the order of the seeds once it is closed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.entities import RecordId
from penstock.errors import StorageError
from penstock.jobs.ordered_jsonl import OrderedJsonlFile


def _ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_lines_are_appended_as_records_finish_and_sorted_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out" / "records.jsonl"
    file = OrderedJsonlFile(path)

    for seed in (2, 0, 1):
        file.append(RecordId(seed), {"id": str(RecordId(seed))})
    file.flush()
    streamed = _ids(path)
    file.close()

    assert streamed == ["2.0", "0.0", "1.0"]
    assert _ids(path) == ["0.0", "1.0", "2.0"]


def test_repetitions_and_children_are_sorted_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    file = OrderedJsonlFile(path)
    identities = [RecordId(0, 0, "10"), RecordId(0, 10, "0"), RecordId(0, 0, "9"), RecordId(0, 2, "0")]

    for identity in identities:
        file.append(identity, {"id": str(identity)})
    file.close()

    assert _ids(path) == ["0.0.9", "0.0.10", "0.2.0", "0.10.0"]


def test_a_file_that_is_in_order_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    file = OrderedJsonlFile(path)
    inode = path.stat().st_ino

    for seed in range(3):
        file.append(RecordId(seed), {"id": str(RecordId(seed))})
    file.close()

    assert path.stat().st_ino == inode
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StorageError, match="cannot be written"):
        OrderedJsonlFile(tmp_path / "file" / "records.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_an_error_when_the_file_is_closed() -> None:
    file = OrderedJsonlFile(Path("/dev/full"))
    file.append(RecordId(0), {"id": "0.0"})

    with pytest.raises(StorageError, match="/dev/full cannot be written: No space left"):
        file.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_an_error_when_lines_are_flushed() -> None:
    file = OrderedJsonlFile(Path("/dev/full"))
    file.append(RecordId(0), {"id": "0.0"})

    with pytest.raises(StorageError, match="/dev/full cannot be written: No space left"):
        file.flush()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_an_error_when_a_long_line_is_appended() -> None:
    file = OrderedJsonlFile(Path("/dev/full"))

    with pytest.raises(StorageError, match="/dev/full cannot be written: No space left"):
        file.append(RecordId(0), {"text": "x" * 1_000_000})


def test_a_file_is_started_anew(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text("old\n" * 100)

    file = OrderedJsonlFile(path)
    file.append(RecordId(0), {"id": "new"})
    file.close()

    assert path.read_text() == '{"id":"new"}\n'
    assert file.rows == 1


def test_a_single_line_out_of_order_among_many_is_sorted(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    file = OrderedJsonlFile(path)
    identities = [RecordId(seed, repetition) for seed in range(3) for repetition in range(2)]
    identities.append(identities.pop(2))

    for identity in identities:
        file.append(identity, {"id": str(identity), "text": "x" * (identity.seed + 1)})
    file.close()

    assert _ids(path) == ["0.0", "0.1", "1.0", "1.1", "2.0", "2.1"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_seed_with_very_many_repetitions_stays_before_the_next_seed(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    file = OrderedJsonlFile(path)
    identities = [RecordId(1, 0), RecordId(0, 1_000_000_000), RecordId(0, 1)]

    for identity in identities:
        file.append(identity, {"id": str(identity)})
    file.close()

    assert _ids(path) == ["0.1", "0.1000000000", "1.0"]


def test_children_of_children_are_sorted_level_by_level(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    file = OrderedJsonlFile(path)
    children = ["1.10", "1.9", "0.2", "10.0", "2.0"]

    for child in children:
        file.append(RecordId(0, 0, child), {"id": child})
    file.close()

    assert _ids(path) == ["0.2", "1.9", "1.10", "2.0", "10.0"]


def test_a_value_that_is_not_json_is_written_as_the_database_has_it(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    file = OrderedJsonlFile(path)

    file.append(RecordId(0), {"id": "0.0", "path": Path("a"), "large": 2**70, "nan": float("nan"), 1: "x"})
    file.close()

    (line,) = (json.loads(text) for text in path.read_text().splitlines())
    assert line == {"id": "0.0", "path": "a", "large": 2**70, "nan": None, "1": "x"}
