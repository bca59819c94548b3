"""Where Python code does not parse."""

from __future__ import annotations

import ast
import json
import warnings

from penstock.gates.messages import shorten
from penstock.stoppable import ChildProcess, NotFinishedError

_SECONDS = 10.0

child = ChildProcess("penstock.gates.python_code", _SECONDS)


def find_problem(code: str) -> str | None:
    """What is wrong with ``code``, with the line at which the parser stopped; None when it parses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as an invalid escape, which Python accepts
            ast.parse(code)
    except SyntaxError as error:
        line = shorten(error.text or "", 80)
        shown = f": {line}" if line else ""
        return f"line {error.lineno or 1}: {error.msg}{shown}"
    except (RecursionError, MemoryError):
        return "the code is nested too deeply to be parsed"
    except ValueError:  # null characters, lone surrogates
        return "the code contains characters that are not text"
    return None


def find_problem_in_child(code: str) -> str | None:
    """The same for long code: the parser cannot be interrupted. Waits, so it is for threads."""
    try:
        problem: str | None = json.loads(child.ask(json.dumps(code).encode()))
    except NotFinishedError as error:
        return f"the code cannot be parsed: {error}"
    return problem


def answer(request: bytes) -> bytes:
    """What the child does."""
    return json.dumps(find_problem(json.loads(request))).encode()
