"""How commands speak: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
import orjson

from penstock.settings import Settings

WELL, FOUND, WRONG, INTERRUPTED = 0, 1, 2, 130
"""Exit status: all is well; some records failed or a check found something; wrong input; interrupted."""

json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON."
)


def say(text: str) -> None:
    """A line for the person at the terminal."""
    click.echo(text, err=True)


def print_json(value: Any) -> None:
    """A result for the program that asked."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
    sys.stdout.buffer.write(orjson.dumps(value, default=str, option=options))
    sys.stdout.buffer.flush()


def describe_model(settings: Settings) -> str:
    """One line that says which model answers, and why."""
    return settings.model_line


def money(dollars: float | None) -> str:
    """A sum for reading; an unknown price is said to be unknown."""
    if dollars is None:
        return "price unknown"
    return f"${dollars:.2f}" if dollars >= 1 or dollars == 0 else f"${dollars:.4f}"


def duration(seconds: float) -> str:
    """A time span for reading."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
