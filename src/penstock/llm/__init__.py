"""The one door to language models.

A block asks ``await llm.complete(messages, model=…, schema=…)`` and gets a Completion. Which provider, how
often to try again, how many at once, what is in the journal and what it cost is settled behind this door.
Whoever runs blocks opens a ``scope`` around them, which says what sample the calls belong to and collects
what they used.
"""

from penstock.llm.call_context import (
    CallContext,
    Sample,
    current_call_context,
    seed_digest,
    use_call_context,
)
from penstock.llm.client import Client, complete, current_client, use_client
from penstock.llm.journal import Journal, JournalMode, MemoryJournal
from penstock.llm.usage import Completion

__all__ = [
    "CallContext",
    "Client",
    "Completion",
    "Journal",
    "JournalMode",
    "MemoryJournal",
    "Sample",
    "complete",
    "current_call_context",
    "current_client",
    "seed_digest",
    "use_call_context",
    "use_client",
]
