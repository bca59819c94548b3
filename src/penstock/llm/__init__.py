"""Access to language models; nothing outside of this package knows a provider, an SDK or a protocol.

A block calls ``await llm.complete(messages, model=…, schema=…)`` and gets a Completion. Which provider is
asked, retries, concurrency, the journal and the cost are decided here. Code that runs blocks sets a call
context around them (``use_call_context``), which says what sample the calls belong to and collects what they
used.
"""

from penstock.llm.backlog import Waiting
from penstock.llm.call_context import (
    CallContext,
    Sample,
    current_call_context,
    seed_digest,
    use_call_context,
)
from penstock.llm.client import Client, complete, current_client, use_client
from penstock.llm.completion import Completion
from penstock.llm.journal import Journal, JournalMode, MemoryJournal
from penstock.llm.samples import SampleNumbers
from penstock.llm.structured_output import accepts

__all__ = [
    "CallContext",
    "Client",
    "Completion",
    "Journal",
    "JournalMode",
    "MemoryJournal",
    "Sample",
    "SampleNumbers",
    "Waiting",
    "accepts",
    "complete",
    "current_call_context",
    "current_client",
    "seed_digest",
    "use_call_context",
    "use_client",
]
