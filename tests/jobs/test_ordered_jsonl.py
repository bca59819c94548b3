"""The file of a run streams while it is written and is in the seeds' order when it is closed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.entities import RecordId
from penstock.errors import StorageError
from penstock.jobs.ordered_jsonl import OrderedJsonlFile


def _ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_lines_come_as_they_finish_and_end_in_the_order_of_the_seeds(tmp_path: Path) -> None:
    path = tmp_path / "out" / "records.jsonl"
    file = OrderedJsonlFile(path)

    for seed in (2, 0, 1):
        file.append(RecordId(seed), {"id": str(RecordId(seed))})
    file.flush()
    streamed = _ids(path)
    file.close()

    assert streamed == ["2.0", "0.0", "1.0"]
    assert _ids(path) == ["0.0", "1.0", "2.0"]


def test_repetitions_and_children_are_ordered_by_number_not_by_letter(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    file = OrderedJsonlFile(path)
    identities = [RecordId(0, 0, "10"), RecordId(0, 10, "0"), RecordId(0, 0, "9"), RecordId(0, 2, "0")]

    for identity in identities:
        file.append(identity, {"id": str(identity)})
    file.close()

    assert _ids(path) == ["0.0.9", "0.0.10", "0.2.0", "0.10.0"]


def test_a_file_in_order_already_is_left_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    file = OrderedJsonlFile(path)
    inode = path.stat().st_ino

    for seed in range(3):
        file.append(RecordId(seed), {"id": str(RecordId(seed))})
    file.close()

    assert path.stat().st_ino == inode
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StorageError, match="cannot be written"):
        OrderedJsonlFile(tmp_path / "file" / "records.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_said_in_a_sentence_when_the_file_is_closed() -> None:
    file = OrderedJsonlFile(Path("/dev/full"))
    file.append(RecordId(0), {"id": "0.0"})

    with pytest.raises(StorageError, match="/dev/full cannot be written: No space left"):
        file.close()
