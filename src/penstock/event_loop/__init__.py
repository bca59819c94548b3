"""Running penstock's event loop although code of users runs in it: it may hold the loop, or end it.

``run`` runs a coroutine, watches the loop from a thread, and ends the process at a second signal even when
the loop is held.
"""

from __future__ import annotations

from penstock.event_loop.running import run
from penstock.event_loop.stop_signals import StopSignals, current_stop_signals

__all__ = ["StopSignals", "current_stop_signals", "run"]
