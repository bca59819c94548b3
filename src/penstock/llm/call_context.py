"""What a model call belongs to.

The pipeline sets a call context around each attempt of a step. Calls made inside it, by any block and at any
depth, find it through a context variable: the journal's key takes the sample from it, and the usage of each
call is added to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

from penstock.entities import Usage
from penstock.llm.journal import Journal, JournalMode
from penstock.serialization import to_json


class Sample(NamedTuple):
    """Which sample a call is: a repetition, another attempt or another step is another sample.

    ``seed`` is the digest of the seed's variables rather than its place in the file, so that a file which
    grew or was sorted still finds its calls in the journal.
    """

    seed: str = ""
    repetition: int = 0
    child: str = ""
    step: int = 0
    attempt: int = 1
    index: int = 0  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    """Which of several samples of the same attempt (similarity gates compare them)."""
    round: int = 0
    """How often the record was tried again from the start of this step, after its gates refused it."""


def seed_digest(variables: Mapping[str, Any]) -> str:
    """A short, stable digest of a seed's variables, for ``Sample.seed``: 24 hexadecimal digits.

    Equal JSON gives equal digests, whatever the order of its keys.
    """
    return blake2b(to_json(variables, sort_keys=True).encode(), digest_size=12).hexdigest()


@dataclass(slots=True)
class CallContext:
    """The sample that calls belong to, the journal they go through, and what they used so far."""

    sample: Sample = field(default_factory=Sample)
    journal: Journal | None = None
    mode: JournalMode = JournalMode.NORMAL
    usage: Usage = field(default_factory=Usage)
    calls: list[dict[str, Any]] = field(default_factory=list)
    """One entry a call, for the trace: model, temperature, tokens, seconds, finish_reason, from_journal."""
    problems: list[str] = field(default_factory=list)
    """Why answers were no whole answers, of calls that do not allow it; the step is then healed, or fails."""
    on_call: Callable[[], None] | None = None
    """Called before each model call, also before one that the journal answers."""
    on_answer: Callable[[], None] | None = None
    """Called after each model call, also after one that failed."""


_context: ContextVar[CallContext | None] = ContextVar("penstock_call_context", default=None)


def current_call_context() -> CallContext | None:
    """The call context in effect here; None outside of ``use_call_context``."""
    return _context.get()


class use_call_context:  # noqa: N801 (used as a function is: ``with use_call_context(...)``)
    """Make ``context`` the one that calls inside the ``with`` belong to.

    A class rather than a ``@contextmanager``, which is slower: it is entered for every call of every record.
    """

    __slots__ = ("_context", "_token")

    def __init__(self, context: CallContext) -> None:
        self._context = context

    def __enter__(self) -> CallContext:
        self._token = _context.set(self._context)
        return self._context

    def __exit__(self, *_: object) -> None:
        _context.reset(self._token)
