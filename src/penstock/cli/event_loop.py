"""Run a command's coroutine, with what makes long runs fast, and keep the log quiet."""

from __future__ import annotations

import gc
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from penstock import event_loop
from penstock.cli.interrupts import raise_noted_interrupt
from penstock.cli.output import print_message
from penstock.descriptors import raise_limit
from penstock.errors import PipelineError
from penstock.settings import get_settings

_GC_THRESHOLDS = (50_000, 20, 50)
"""Allocations before each of the garbage collector's three generations is examined."""

T = TypeVar("T")


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on uvloop where it exists, with a garbage collector that runs less often.

    A run makes many small objects that reference counting frees. Examining them for cycles at Python's
    default rate takes a tenth of a run's time.
    """
    try:
        raise_limit()
        raise_noted_interrupt()
    except (PipelineError, KeyboardInterrupt):
        coroutine.close()
        raise
    _configure_log(debug=get_settings().debug)
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    return event_loop.run(coroutine, print_message)


def _configure_log(*, debug: bool) -> None:
    """Show the log only with DEBUG: progress and results already say what happens."""
    log = logging.getLogger("penstock")
    log.propagate = False
    log.handlers = [logging.StreamHandler() if debug else logging.NullHandler()]
    log.setLevel(logging.DEBUG if debug else logging.CRITICAL)
    log.handlers[0].setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] %(name)s: %(message)s"))
