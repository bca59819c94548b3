"""Ctrl-C while a command starts, and a terminal that is closed."""

from __future__ import annotations

import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest

from cli.files import write
from penstock.cli.interrupts import noting_interrupts, raise_noted_interrupt
from penstock.testing import ModelServer
from support.command import environment
from support.runs import read_lines


class _Interrupted:
    """Python drops what its finalizer raises, as it does in callbacks while it imports."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_that_python_drops_is_taken_up_when_the_work_begins() -> None:
    with noting_interrupts():
        _Interrupted()

        with pytest.raises(KeyboardInterrupt):
            raise_noted_interrupt()

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_the_work_begins_with_pythons_own_handler() -> None:
    with noting_interrupts():
        raise_noted_interrupt()

        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _open_terminal() -> tuple[int, int]:
    try:
        return pty.openpty()
    except OSError as error:  # such as a container without /dev/pts
        pytest.skip(f"this system has no terminals: {error}")


class Terminal:
    """A run of many slow records on a terminal of its own."""

    def __init__(self, model: ModelServer, folder: Path, *, columns: int, **variables: str) -> None:
        self._ours, theirs = _open_terminal()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        chosen = {**environment(model, folder), "TERM": "xterm", **variables}
        if "COLUMNS" not in variables:
            del chosen["COLUMNS"]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _ON_TERMINAL,
                "run",
                "p.yaml",
                "s.jsonl",
                "-o",
                "out.jsonl",
                "--concurrency",
                "2",
            ],
            cwd=folder,
            env={name: value for name, value in chosen.items() if value},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def read_until(self, text: str) -> None:
        """Read what is shown until ``text`` is part of it."""
        while text not in self.shown:
            self.shown += os.read(self._ours, 1 << 16).decode(errors="replace")

    def read_to_end(self) -> int:
        """Read all that is shown and return the exit status."""
        try:
            while data := os.read(self._ours, 1 << 16):
                self.shown += data.decode(errors="replace")
        except OSError:  # the end of a terminal
            pass
        return self.close()

    def close(self) -> int:
        """Close the terminal and return the exit status."""
        os.close(self._ours)
        return self._process.wait(60)


_SLOWLY = ("--concurrency", "2")
_ON_TERMINAL = """
import fcntl, signal, sys, termios, os
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if os.environ.get("NOHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
from penstock.__main__ import main
main()
"""


@pytest.mark.parametrize("nohup", ["", "1"], ids=["closed", "closed under nohup"])
def test_a_terminal_that_is_closed_ends_a_run_as_ctrl_c_does_and_spoils_nothing(
    model: ModelServer, tmp_path: Path, nohup: str
) -> None:
    write(tmp_path, topics=tuple(map(str, range(60))))
    model.latency = 0.05

    terminal = Terminal(model, tmp_path, columns=20, NOHUP=nohup)
    terminal.read_until("/60")
    status = terminal.close()

    lines = read_lines(tmp_path / "out.jsonl")
    assert status == (0 if nohup else 130)
    assert len(lines) == 60 if nohup else 0 < len(lines) < 60


@pytest.mark.parametrize(
    ("columns", "variables"),
    [
        (8, {}),
        (20, {}),
        (80, {}),
        (40, {"COLUMNS": "0"}),
        (40, {"COLUMNS": "1000000000"}),
        (40, {"NO_COLOR": "1", "PYTHONIOENCODING": "ascii"}),
        (40, {"TERM": "dumb"}),
        (40, {"TERM": ""}),
    ],
    ids=str,
)
def test_the_count_is_shown_in_every_terminal(
    model: ModelServer, tmp_path: Path, columns: int, variables: dict[str, str]
) -> None:
    write(tmp_path)

    terminal = Terminal(model, tmp_path, columns=columns, **variables)
    status = terminal.read_to_end()

    assert status == 0
    is_plain = variables.get("TERM", "xterm") in {"", "dumb"}
    assert ("\x1b" not in terminal.shown) if is_plain else ("3/3" in terminal.shown)
    assert "3 records" in terminal.shown
    assert "PYTHONIOENCODING" not in variables or terminal.shown.isascii()
    assert "Traceback" not in terminal.shown
