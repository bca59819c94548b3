"""Work that may take long or much memory, in a child process that can be stopped.

Rendering and validating are done in the event loop, as long as they are little work. More of it cannot stay
there, and a thread does not help: what holds the interpreter's lock can neither be interrupted nor limited.
"""

from __future__ import annotations

from penstock.stoppable.child_process import ChildProcess, NotFinishedError, wait_in_thread

__all__ = ["ChildProcess", "NotFinishedError", "wait_in_thread"]
