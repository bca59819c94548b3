"""Runs the coroutine of a command or of the service to its end, whatever code of users does to the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from penstock.event_loop.stop_signals import StopSignals
from penstock.event_loop.watchdog import Watchdog
from penstock.user_code import is_signal, name_exception

CLOSING_SECONDS = 1.0
"""How long tasks that are left may take to end, once they are cancelled."""

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], report: Callable[[str], None]) -> T:
    """Run ``coroutine`` in a new event loop, on uvloop where it exists.

    ``report`` receives a sentence when some code holds the loop, or has tried to end the process from a task
    of its own. It may be called in another thread. Raises KeyboardInterrupt when a signal came that nothing
    else handles.
    """
    loop = _new_loop()
    try:
        asyncio.set_event_loop(loop)
        task = loop.create_task(coroutine)
        signals = StopSignals(loop, lambda _: _cancel(task))
        watchdog = Watchdog(loop, report)
        with signals.installed():
            watchdog.start()
            try:
                return _run_until_done(loop, task, report)
            except asyncio.CancelledError:
                if signals.received:
                    raise KeyboardInterrupt from None
                raise
            finally:
                _close(loop)
                watchdog.stop()
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _run_until_done(
    loop: asyncio.AbstractEventLoop, task: asyncio.Task[T], report: Callable[[str], None]
) -> T:
    """The result of ``task``. The loop goes on when a task of a user's has tried to end it before."""
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if is_signal(error):
                raise
            if task.done():
                return task.result()
            report(f"A task that some code has started raised {name_exception(error)}; penstock goes on.")
        except RuntimeError:
            if task.done():
                return task.result()
            report("Some code has stopped the event loop; penstock goes on.")


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left, and give it some time; what goes on nevertheless is left to itself."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=CLOSING_SECONDS))
    if any(not task.done() for task in left):
        loop.set_exception_handler(lambda _loop, _context: None)
        return
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
