"""The uploaded seed files of jobs."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import insert, select

from penstock.storage.session import Session
from penstock.storage.tables import seed_files


@dataclass(frozen=True, slots=True)
class SeedFile:
    """A file as it was uploaded."""

    name: str
    content: bytes


async def save_seed_file(session: Session, job_id: int, name: str, content: bytes) -> None:
    """Save the file that the job reads; it is deleted with the job."""
    await session.execute(insert(seed_files).values(job_id=job_id, name=name, content=content))


async def find_seed_file(session: Session, job_id: int) -> SeedFile | None:
    """The file that the job reads, or None when its seeds were not uploaded."""
    row = await session.fetch_first(select(seed_files).where(seed_files.c.job_id == job_id))
    return SeedFile(row.name, row.content) if row else None
