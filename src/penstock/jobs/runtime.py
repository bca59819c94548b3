"""What all jobs of a process share: database, writer, journal, client for models, reader of uploads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from penstock import llm
from penstock.seeds import UploadReader
from penstock.settings import Settings
from penstock.storage.database import Storage
from penstock.storage.journal import DurableJournal
from penstock.storage.writer import Writer


@dataclass(frozen=True, slots=True)
class Runtime:
    """The open resources of a process that runs jobs."""

    settings: Settings
    storage: Storage
    writer: Writer
    journal: DurableJournal
    client: llm.Client
    uploads: UploadReader = field(default_factory=UploadReader)


@asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Open the resources, and close them in reverse order; raises StorageError."""
    async with AsyncExitStack() as stack:
        where = settings.database_url or settings.database_path
        storage = Storage(where, lock_seconds=settings.database_lock_seconds)
        await stack.enter_async_context(storage)
        writer = await stack.enter_async_context(Writer(storage))
        journal = await stack.enter_async_context(DurableJournal(storage, writer))
        client = await stack.enter_async_context(llm.Client(settings))
        yield Runtime(settings, storage, writer, journal, client)
