"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from penstock.cli.streams import ForgivingStream, writing_result
from penstock.control_characters import escape_controls, escape_json
from penstock.entities import Usage
from penstock.serialization import from_json, to_json

if TYPE_CHECKING:
    from rich.console import Console


class ExitStatus(IntEnum):
    """How a command ended."""

    OK = 0
    INCOMPLETE = 1
    """Some records failed, or a check found an error."""
    BAD_INPUT = 2
    """The command, its input or the setup cannot be used."""
    INTERRUPTED = 130
    """By Ctrl-C or SIGTERM."""


json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON."
)


def print_message(text: str) -> None:
    """Print a line for the user, on standard error; nothing happens when nobody reads it."""
    with suppress(OSError, ValueError):
        # The stream is said, since click would take another encoding than ascii.
        click.echo(escape_controls(text), file=sys.stderr)


def print_result(text: str = "", *, nl: bool = True, **style: Any) -> None:
    """Print a command's result for people, on standard output. Raises StorageError."""
    with writing_result():
        click.secho(escape_controls(text), file=sys.stdout, nl=nl, **style)


def print_json(value: Any) -> None:
    """Print a command's result for another program, as UTF-8 on standard output. Raises StorageError."""
    plain = from_json(to_json(value))
    text = escape_json(json.dumps(plain, indent=2, ensure_ascii=False)).encode()
    with writing_result():
        sys.stdout.flush()
        sys.stdout.buffer.write(text + b"\n")
        sys.stdout.buffer.flush()


def format_money(dollars: float | None) -> str:
    """An amount in US dollars; None is a price that is not known."""
    if dollars is None:
        return "price unknown"
    return f"${dollars:.2f}" if dollars >= 1 or dollars == 0 else f"${dollars:.4f}"


def format_usage(usage: Usage, *, total: bool = False) -> str:
    """Tokens, or their ``total`` alone, as text; numbers that are in part estimated are said to be."""
    numbers = f"{usage.total_tokens:,}" if total else f"{usage.input_tokens:,} + {usage.output_tokens:,}"
    if usage.unreported_calls:
        return f"unknown tokens (about {numbers}: the provider does not report them)"
    return f"{numbers} tokens"


def format_cost(usage: Usage) -> str:
    """The cost as text; an estimate is said to be one."""
    is_estimate = usage.unreported_calls and usage.cost
    return ("about " if is_estimate else "") + format_money(usage.cost)


def format_duration(seconds: float) -> str:
    """A time span in seconds, minutes or hours."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def pluralize(count: int, noun: str) -> str:
    """``1 record``, ``2 records``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def shorten(text: str, length: int = 80) -> str:
    """``text``, with ``…`` in place of its middle when it is longer than ``length``."""
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[:half]}…{text[-half:]}"


def make_console(stream: TextIO) -> Console:
    """What draws tables and the bar on a stream, whether or not somebody still reads it."""
    from rich.console import Console

    # Any width that COLUMNS says is taken, 0 and a billion too.
    width = min(max(shutil.get_terminal_size().columns, 10), 500) if "COLUMNS" in os.environ else None
    return Console(file=cast("TextIO", ForgivingStream(stream)), highlight=False, width=width)
