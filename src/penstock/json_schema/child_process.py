"""Validations that may take long, in a child process that can be stopped.

jsonschema_rs holds the interpreter's lock and cannot be interrupted, so neither a thread nor a timeout helps.
The child is started at its first use and answers one request after the other. When it does not answer in
time it is killed, and the next request starts another. It reads requests from its standard input and ends
when that does, so it does not outlive this process.
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

from penstock.json_schema.errors import SchemaError, TooMuchWorkError, Violation
from penstock.json_schema.messages import pack, read_message, unpack

SECONDS = 5.0
"""Of one request; a busy machine included."""
_STARTING = 30.0
"""Seconds until a new child answers, on a machine that is busy with other things."""
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL", "TMPDIR", "TEMP")
"""Of the environment; keys of providers are none of the child's business."""


class _Child:
    """The process; requests take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: bytes) -> Any:
        """The answer to a message; raises TooMuchWorkError when none comes in time."""
        with self._lock:
            try:
                return self._exchange(self._get_process(), request, SECONDS)
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Kill the process; the next request starts another."""
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
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "penstock.json_schema.child_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._exchange(self._process, b"", _STARTING)
        return self._process

    @staticmethod
    def _exchange(process: subprocess.Popen[bytes], request: bytes, seconds: float) -> Any:
        """The answer to ``request``; the process is killed when it does not come within ``seconds``."""
        assert process.stdin is not None
        assert process.stdout is not None
        alarm = threading.Timer(seconds, process.kill)
        alarm.start()
        try:
            process.stdin.write(request)
            process.stdin.flush()
            return unpack(read_message(process.stdout.read))
        except (OSError, EOFError) as error:
            raise TooMuchWorkError(f"it takes more than {seconds:g} seconds, or too much memory") from error
        finally:
            alarm.cancel()


_Result = TypeVar("_Result")
_child = _Child()
atexit.register(_child.stop)


@cache
def _get_thread() -> ThreadPoolExecutor:
    """The thread that waits for the child, so that other threads are left for other work."""
    return ThreadPoolExecutor(1, "json-schema")


async def wait_in_thread(function: Callable[..., _Result], *args: Any) -> _Result:
    """What ``function``, which may wait for the child, returns; the event loop is free meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(_get_thread(), function, *args)


def ask_child(schema: Any, value: Any, most: int) -> list[Violation]:
    """What ``find_in_any_time`` finds, or its error; raises TooMuchWorkError after ``SECONDS``."""
    answer = _child.ask(pack({"schema": schema, "value": value, "most": most}))
    if "violations" in answer:
        return [
            Violation(tuple(path), keyword, message, tuple(names))
            for path, keyword, message, names in answer["violations"]
        ]
    kinds: dict[str, type[Exception]] = {"schema": SchemaError, "work": TooMuchWorkError}
    raise kinds.get(answer["error"], ValueError)(answer["message"])
