"""The command line in processes that are forked from one that has imported it already.

A command starts in milliseconds this way, with standard streams, environment, folder and limits of its own,
so a table of all commands and all kinds of streams is tested in seconds.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import penstock

_SOURCES = Path(penstock.__file__).parents[1]
_TESTS = Path(__file__).parents[1]
_WARM = (
    *(f"penstock.cli.{name}" for name in ("run", "export", "validate", "progress", "doctor", "serve")),
    *(f"penstock.jobs.{name}" for name in ("runs", "dataset_export", "dry_run")),
    "penstock.storage.copying",
    "penstock.llm.transports.openai",
)
_REPORT = 200
"""A descriptor for a traceback, also where standard error is closed."""
SECONDS = 60
"""After how long a command that does not end is killed, which fails its test."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit status (negative for a signal) and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, read as JSON."""
        return json.loads(self.out)


class ForkedCommands:
    """Runs ``penstock`` with any arguments; made by ``forking``."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def run(
        self,
        *arguments: str | bytes | Path,
        folder: Path,
        variables: Mapping[str, str] | None = None,
        closed: Sequence[int] = (),
        files: Mapping[int, int] | None = None,
        stdin: bytes = b"",
        **options: Any,
    ) -> Ended:
        """Run a command to its end.

        ``closed`` are standard streams that it does not have, ``files`` descriptors to take in place of the
        usual ones. ``options``: ``limit_files`` (RLIMIT_NOFILE), ``umask``, ``is_removed`` (the
        folder), ``terminate_at`` (a port that, once it is listened to, brings SIGTERM).
        """
        with ExitStack() as stack:
            streams = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
            streams[0].write(stdin)
            streams[0].seek(0)
            given = [(files or {}).get(number, streams[number].fileno()) for number in range(3)]
            request = {
                "arguments": [os.fsencode(argument).decode("latin-1") for argument in arguments],
                "folder": str(folder),
                "variables": {"HOME": str(folder), **(variables or {})},
                "closed": list(closed),
                **options,
            }
            socket.send_fds(self._control, [json.dumps(request).encode()], given)
            status = json.loads(self._control.recv(100))
            return Ended(status, _read(streams[1]), _read(streams[2]))


@contextmanager
def forking() -> Iterator[ForkedCommands]:
    """The process from which commands are forked."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT") if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join([str(_SOURCES), str(_TESTS)])
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "support.forked_commands", str(theirs.fileno())],
            env=environment,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        try:
            yield ForkedCommands(ours)
        finally:
            ours.close()
            process.wait(SECONDS)


def _read(stream: BinaryIO) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "backslashreplace")


def _serve(control: socket.socket) -> None:
    import importlib

    for name in _WARM:
        importlib.import_module(name)
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 3)
        if not data:
            return
        child = os.fork()
        if child == 0:
            control.close()
            _become_command(json.loads(data), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        control.send(json.dumps(_wait(child)).encode())


def _wait(child: int) -> int:
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(SECONDS)
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    return os.waitstatus_to_exitcode(status)


def _set_up(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    import resource

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        mode = "r" if name == "stdin" else "w"
        setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    os.chdir(request["folder"])
    if request.get("is_removed"):
        Path(request["folder"]).rmdir()
    os.environ.update(request["variables"])
    os.umask(request.get("umask", 0o022))
    os.dup2(2, _REPORT)
    for number in request["closed"]:
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)
        os.close(number)
    if limit := request.get("limit_files"):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if port := request.get("terminate_at"):
        threading.Thread(target=_terminate_once_listening, args=(port,), daemon=True).start()


def _become_command(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Take on what was asked for, run the command, and end this process as an interpreter ends."""
    _set_up(request, descriptors)
    sys.argv = ["penstock", *(os.fsdecode(one.encode("latin-1")) for one in request["arguments"])]
    status: Any = 0
    try:
        from penstock.__main__ import main

        main()
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        import traceback

        os.write(_REPORT, traceback.format_exc().encode())
        status = 1
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):
        status = 120  # as the interpreter does when it cannot write what is buffered
    os._exit(status if isinstance(status, int) else 0 if status is None else 1)


def _terminate_once_listening(port: int) -> None:
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), SECONDS) as client:
            client.sendall(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
            if b" 200 " in client.recv(1000):
                os.kill(os.getpid(), signal.SIGTERM)
                return
        time.sleep(0.02)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
