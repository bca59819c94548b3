"""Whether an earlier run has read a seed file through."""

from __future__ import annotations

from pathlib import Path

from penstock.settings import Settings
from penstock.storage.known_seeds import is_known_digest
from support.runs import build, execute, numbered, run


async def test_seeds_are_known_once_a_run_has_counted_them(settings: Settings) -> None:
    seeds, others = numbered(2), numbered(3)
    path = Path(settings.database_path)
    before = is_known_digest(path, seeds.digest)

    await run(build("Note"), seeds, settings)

    assert not before
    assert is_known_digest(path, seeds.digest)
    assert not is_known_digest(path, others.digest)
    await execute(settings, "UPDATE jobs SET total_seeds = 0")
    assert not is_known_digest(path, seeds.digest)


def test_a_file_that_cannot_tell_knows_no_seeds(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    path.write_text("no database")

    assert not is_known_digest(path, "0" * 64)
    assert not is_known_digest(tmp_path / "none.db", "0" * 64)
    assert not path.with_name("none.db").exists()
