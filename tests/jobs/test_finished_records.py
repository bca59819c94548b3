"""The records that a job has are compared with its seeds a page at a time."""

from __future__ import annotations

from penstock.entities import RecordId
from penstock.jobs.finished_records import FinishedRecords

PAGE = 1_000


async def test_pages_are_read_as_the_seeds_need_them_and_forgotten_after_them() -> None:
    known = [RecordId(seed) for seed in range(0, 5_000, 2)]
    begins: list[RecordId | None] = []

    async def read_page(begin: RecordId | None) -> list[RecordId]:
        begins.append(begin)
        start = 0 if begin is None else known.index(begin) + 1
        return known[start : start + PAGE]

    finished = FinishedRecords(read_page)
    found = []
    most = 0
    for seed in range(5_000):
        if not finished.knows(seed):
            await finished.read_on(seed)
        found.append(RecordId(seed) in finished)
        most = max(most, len(finished._identities))

    assert found == [True, False] * 2_500
    assert len(begins) == 3
    assert most <= 2 * PAGE


async def test_all_children_of_a_seed_are_known_although_they_fill_several_pages() -> None:
    known = [RecordId(0, 0, str(child)) for child in range(2_500)] + [RecordId(1, 0, "0")]

    async def read_page(begin: RecordId | None) -> list[RecordId]:
        start = 0 if begin is None else known.index(begin) + 1
        return known[start : start + PAGE]

    finished = FinishedRecords(read_page)
    await finished.read_on(0)

    assert all(identity in finished for identity in known[:2_500])
    assert RecordId(0, 0, "2500") not in finished
