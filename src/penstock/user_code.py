"""What code of users may do to its caller: raise anything, and cancel the task that it runs in.

Blocks, gates and their files may raise exceptions that are no ``Exception``, whose text cannot be made, or
that seem to be a signal. Everything that calls such code turns what comes out into an ordinary exception with
one safe sentence; only a real signal and a cancellation by penstock go on.
"""

from __future__ import annotations

import asyncio
import dis
import signal
import threading
from contextvars import ContextVar
from types import FrameType, TracebackType
from typing import Any

MAX_MESSAGE = 4000
"""The longest text of an exception that is kept."""
CANCELLED = "it was cancelled (CancelledError), but not by penstock"
_SIGNAL_MODULES = frozenset({"asyncio.runners", "penstock.cli.interrupts"})
"""Modules whose handlers of SIGINT raise KeyboardInterrupt by ``raise``."""
_MAX_IN_GROUP = 3
"""How many exceptions of a group are named."""


class UserCodeError(Exception):
    """What code of a user did that is no ``Exception``, in words: it raised SystemExit, it was cancelled."""


class ApartTask:
    """A task in which code of users runs, and whether penstock has cancelled it."""

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = False


apart_task: ContextVar[ApartTask | None] = ContextVar("penstock_apart_task", default=None)
"""The task of its own that this code, and every task that it starts, belongs to."""


def to_exception(error: BaseException, *, apart: bool = True) -> Exception:
    """``error`` as an ordinary exception, for code that catches everything that a user's code raises.

    ``apart`` says that this code runs in an ``ApartTask``, if in any. Raises ``error`` again when it concerns
    more than the user's code: a real signal, or a cancellation of its task by somebody else.
    """
    if isinstance(error, Exception):
        return error
    if is_signal(error) or (isinstance(error, asyncio.CancelledError) and _is_cancelled(apart=apart)):
        raise error
    if isinstance(error, asyncio.CancelledError):
        return UserCodeError(CANCELLED)
    converted = UserCodeError(f"it raised {name_exception(error)}")
    converted.__cause__ = error
    return converted


def _is_cancelled(*, apart: bool) -> bool:
    """Whether the task that runs here was cancelled, by something else than the user's code in it."""
    state = apart_task.get() if apart else None
    if state is not None:
        return state.cancelled
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs
        return False
    return task is not None and task.cancelling() > 0


def is_signal(error: BaseException) -> bool:
    """Whether ``error`` is the KeyboardInterrupt of a signal, rather than one that code has raised itself.

    Python's handler of SIGINT raises it between two instructions, others in functions of their own;
    code that raises one itself does so by ``raise``.
    """
    if not isinstance(error, KeyboardInterrupt):
        return False
    if threading.current_thread() is not threading.main_thread():
        return False
    handler = signal.getsignal(signal.SIGINT)
    if handler is not signal.default_int_handler and not _raises_interrupts(handler):
        return False
    frame, instruction = find_origin(error.__traceback__)
    if frame is None:
        return False
    return (
        frame.f_globals.get("__name__") in _SIGNAL_MODULES
        or dis.opname[frame.f_code.co_code[instruction]] != "RAISE_VARARGS"
    )


def _raises_interrupts(handler: Any) -> bool:
    function = getattr(handler, "func", handler)
    return getattr(function, "__module__", None) in _SIGNAL_MODULES


def find_origin(traceback: TracebackType | None) -> tuple[FrameType | None, int]:
    """The frame in which an exception was raised, and the place of the instruction that raised it."""
    if traceback is None:
        return None, 0
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame, max(traceback.tb_lasti, 0)


def find_module(error: BaseException) -> str:
    """The name of the module in which ``error`` was raised; empty when it was not raised yet."""
    frame, _ = find_origin(error.__traceback__)
    return "" if frame is None else str(frame.f_globals.get("__name__"))


def is_own_module(name: str) -> bool:
    """Whether a module is part of penstock; ``penstock.blocks.custom`` holds blocks of users."""
    return name.startswith("penstock.") and not name.startswith("penstock.blocks.custom.")


def is_user_class(cls: type) -> bool:
    """Whether a class, or one that it derives from, is not part of penstock."""
    return not all(is_own_module(each.__module__) for each in cls.__mro__[:-1])


def safe_text(value: object, limit: int = MAX_MESSAGE) -> str:
    """``value`` as text that can be stored and printed, of ``limit`` characters at most; never raises."""
    try:
        text = str(value)
        text = str.__getitem__(text, slice(limit + 1))  # a plain str, whatever subclass was given
    except BaseException as error:
        to_exception(error)
        return f"{_name(value)} without a text"
    if len(text) > limit:
        text = f"{text[: limit - 1]}…"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def describe_exception(error: BaseException) -> str:
    """The text of an exception, or its name when it has none; for a group, also what is in it."""
    if isinstance(error, BaseExceptionGroup):
        return _describe_group(error)
    message = getattr(error, "message", None)
    text = message if isinstance(message, str) else error
    return safe_text(text) or _name(error)


def name_exception(error: BaseException) -> str:
    """The name of an exception and its text: ``ValueError: no text``."""
    text, name = describe_exception(error), _name(error)
    if isinstance(error, UserCodeError):
        return text
    return name if text == name else f"{name}: {text}"


def _describe_group(group: BaseExceptionGroup[Any]) -> str:
    inner = [name_exception(error) for error in group.exceptions[:_MAX_IN_GROUP]]
    if len(group.exceptions) > len(inner):
        inner.append(f"and {len(group.exceptions) - len(inner)} more")
    return safe_text(f"{safe_text(group.message)}: {'; '.join(inner)}")


def _name(value: object) -> str:
    return safe_text(type(value).__name__, 200)
