"""Lines are found in the order of their records, however many there are."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pytest

from penstock.entities import RecordId
from penstock.jobs.line_index import LineIndex, sort_key


def _add(index: LineIndex, *seeds: int) -> None:
    for offset, seed in enumerate(seeds):
        index.add(sort_key(RecordId(seed)), offset * 10, 10)


def test_lines_in_order_need_no_sorting(tmp_path: Path) -> None:
    index = LineIndex(tmp_path)

    _add(index, 0, 1, 2)

    assert index.is_in_order
    assert [(place.seed, place.offset, place.length) for place in index] == [
        (0, 0, 10),
        (1, 10, 10),
        (2, 20, 10),
    ]


def test_the_last_line_of_a_record_counts(tmp_path: Path) -> None:
    index = LineIndex(tmp_path)

    _add(index, 0, 1, 1)

    assert not index.is_in_order
    assert [(place.seed, place.offset) for place in index] == [(0, 0), (1, 20)]


def test_a_record_that_is_dropped_has_no_line_until_it_gets_another(tmp_path: Path) -> None:
    index = LineIndex(tmp_path)
    _add(index, 0, 1)

    index.drop(sort_key(RecordId(1)), 20)
    dropped = [place.seed for place in index]
    index.add(sort_key(RecordId(1)), 20, 10)

    assert dropped == [0]
    assert [(place.seed, place.offset) for place in index] == [(0, 0), (1, 20)]


def test_an_index_whose_records_were_all_dropped_is_empty(tmp_path: Path) -> None:
    index = LineIndex(tmp_path)
    _add(index, 0)

    assert not index.is_empty()
    index.drop(sort_key(RecordId(0)), 10)
    assert index.is_empty()


@pytest.mark.parametrize("count", [9_999, 10_000, 10_001, 35_000])
def test_many_lines_are_sorted_as_few_are(tmp_path: Path, count: int) -> None:
    index = LineIndex(tmp_path)
    seeds = list(range(count))
    random.Random(5).shuffle(seeds)

    for offset, seed in enumerate(seeds):
        index.add(sort_key(RecordId(seed // 4, seed % 4 // 2, str(seed % 2 + 9))), offset, 1)
    index.drop(sort_key(RecordId(0, 0, "9")), count)
    places = list(index)
    index.close()

    assert len(places) == count - 1
    assert [place.key for place in places] == sorted(place.key for place in places)
    assert {seeds[place.offset] for place in places} == set(range(1, count))


def test_memory_does_not_grow_with_the_lines(tmp_path: Path) -> None:
    index = LineIndex(tmp_path)
    peaks = []
    for count in (30_000, 120_000):
        tracemalloc.start()
        for seed in range(count):
            index.add(sort_key(RecordId(seed ^ 1)), seed, 1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    index.close()

    assert peaks[1] < peaks[0] * 1.3
