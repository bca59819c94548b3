"""A child process that answers one request after the other, seen from its parent.

It is started at its first use. When it does not answer in time it is killed, and the next request starts
another. It reads requests from its standard input and ends when that does, so it does not outlive its parent.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

from penstock.stoppable.messages import frame, read_message

_Result = TypeVar("_Result")

_STARTING = 60.0
"""Seconds until a new child answers, on a machine that is busy with other things."""
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL", "TMPDIR", "TEMP")
"""Of the environment; keys of providers are none of the child's business."""


class NotFinishedError(Exception):
    """The child did not answer in time, or took too much memory; it was stopped."""


class ChildProcess:
    """``answer(request: bytes) -> bytes`` of a module, called in a child; calls take turns.

    ``seconds``: time for one call, after which the child is killed.
    """

    def __init__(self, module: str, seconds: float) -> None:
        self.seconds = seconds
        self._module = module
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    def ask(self, request: bytes) -> bytes:
        """What the module answers; raises NotFinishedError. Waits, so it is for threads."""
        with self._lock:
            try:
                return self._exchange(self._get_process(), frame(request), self.seconds)
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Kill the child; the next call starts another."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _get_process(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", "penstock.stoppable.child_main", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._exchange(self._process, b"", _STARTING)
        return self._process

    @staticmethod
    def _exchange(process: subprocess.Popen[bytes], request: bytes, seconds: float) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        alarm = threading.Timer(seconds, process.kill)
        alarm.daemon = True
        alarm.start()
        try:
            process.stdin.write(request)
            process.stdin.flush()
            return read_message(process.stdout.read)
        except (OSError, EOFError) as error:
            raise NotFinishedError(f"it takes more than {seconds:g} seconds, or too much memory") from error
        finally:
            alarm.cancel()


async def wait_in_thread(function: Callable[..., _Result], *args: Any) -> _Result:
    """What ``function``, which may wait for a child, returns; the event loop is free meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(_get_threads(), function, *args)


@cache
def _get_threads() -> ThreadPoolExecutor:
    """Threads that wait for children, so that those of other work are not used up."""
    return ThreadPoolExecutor(2, "stoppable")
