"""Make ``demo.svg``: run the demo in a terminal, in an empty folder, and draw its output.

    python docs/pictures/make_demo_picture.py

The output is not edited. This takes as long as the demo.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).with_name("demo.svg")
COLUMNS, ROWS = 128, 50
_PIECE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+")
_FONT_FACES = re.compile(r"\s*@font-face \{\{.*?\}\}", re.DOTALL)


def main() -> None:
    """Run the demo, read the screen, draw it."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text("$ make demo", style="bold"))
    for line in read_screen(run_demo()):
        console.print(Text.from_ansi(line), soft_wrap=True)
    PICTURE.write_text(draw(console), encoding="utf-8")


def run_demo() -> str:
    """Everything that the demo writes to a terminal."""
    own_end, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "penstock", "demo"]
        process = subprocess.Popen(  # noqa: S603 - our own program
            command, cwd=folder, env=environment, stdout=other_end, stderr=other_end
        )
        os.close(other_end)
        written = bytearray()
        while chunk := _read(own_end):
            written += chunk
        process.wait()
    os.close(own_end)
    return written.decode()


def read_screen(written: str) -> list[str]:
    """The lines on the screen at the end; of a progress display, which overwrites itself, the last state."""
    lines = [""]
    row = 0
    for piece in _PIECE.findall(written):
        if piece == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif piece.endswith("K") and piece.startswith("\x1b"):
            lines[row] = ""
        elif piece.endswith("A") and piece.startswith("\x1b"):
            row = max(0, row - int(piece[2:-1] or 1))
        elif piece != "\r" and (not piece.startswith("\x1b") or piece.endswith("m")):
            lines[row] += piece
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def draw(console: Console) -> str:
    """The picture, without fonts that a browser would download."""
    from rich._export_format import CONSOLE_SVG_FORMAT

    drawing = _FONT_FACES.sub("", CONSOLE_SVG_FORMAT).replace("Fira Code, monospace", "monospace")
    return console.export_svg(title="penstock", code_format=drawing, unique_id="demo")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux raises it when the other end is closed
        return b""


if __name__ == "__main__":
    main()
