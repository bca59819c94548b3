"""Tests that try new examples for as long as ``FUZZ_SECONDS`` says (``make fuzz``).

    @fuzzed(st.text())
    def test_any_text_is_read_or_refused(text: str) -> None:
        ...

Each test of a run gets an equal share of the time. An example that takes longer than ``HANG`` seconds ends
the process with a traceback of where it hangs; the example is in ``.hypothesis/fuzz/running.txt``. An example
that makes the peak of the process's memory grow by more than ``MOST_MEMORY`` fails.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.strategies import SearchStrategy

ENABLED = "FUZZ_SECONDS" in os.environ
HANG = 60
"""Seconds that an example may take; only to end what would never end."""
MOST_MEMORY = 400_000_000
"""Bytes by which one example may raise the peak of the process's memory."""
_HOME = Path(__file__).parents[2] / ".hypothesis" / "fuzz"
_BATCH = settings(
    deadline=None,
    max_examples=500,
    database=DirectoryBasedExampleDatabase(_HOME / "examples"),
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)

share = 1.0
"""Seconds of each test; set when the tests have been collected."""


def fuzzed(*strategies: SearchStrategy[Any], **named: SearchStrategy[Any]) -> Callable[..., Any]:
    """A decorator: the test takes values of these strategies, and runs until its share of time is over."""

    def decorate(test: Callable[..., None]) -> Callable[[], None]:
        @_BATCH
        @given(*strategies, **named)
        @wraps(test)
        def try_batch(*values: Any, **named_values: Any) -> None:
            if time.monotonic() < end or failed:
                try:
                    _try_example(test, values, named_values)
                except BaseException:
                    failed.append(True)  # so that Hypothesis can still make the example smaller
                    raise

        failed: list[bool] = []
        end = 0.0

        def run() -> None:
            nonlocal end
            end = time.monotonic() + share
            while time.monotonic() < end:
                try_batch()

        run.__name__ = test.__name__
        run.__doc__ = test.__doc__
        run.__module__ = test.__module__
        return run

    return decorate


def _try_example(test: Callable[..., None], values: tuple[Any, ...], named: dict[str, Any]) -> None:
    _HOME.mkdir(parents=True, exist_ok=True)
    example = f"{test.__name__}\n{values!r}\n{named!r}\n"
    (_HOME / "running.txt").write_text(example, encoding="utf-8", errors="backslashreplace")
    before = _peak_memory()
    faulthandler.dump_traceback_later(HANG, exit=True, file=2)
    try:
        test(*values, **named)
    finally:
        faulthandler.cancel_dump_traceback_later()
    grown = _peak_memory() - before
    assert grown < MOST_MEMORY, f"this example took {grown / 1e6:,.0f} MB of memory"


def _peak_memory() -> int:
    """Bytes of the largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
