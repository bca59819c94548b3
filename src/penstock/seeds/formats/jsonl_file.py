"""JSONL seed files: each line is an object, either a seed in the long form or the variables of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import orjson

from penstock.errors import BadInputError
from penstock.seeds.formats.json_text import explain, parse_exactly, refuse_many_values
from penstock.seeds.formats.text import decode_text, line_error, read_lines
from penstock.seeds.model import Seed, UnusableSeed, parse_seed

_LONG_LINE = 1024 * 1024


def read_jsonl(stream: BinaryIO, name: str) -> Iterator[Seed | UnusableSeed]:
    """The seeds of a JSONL file, line by line; the error of an unusable one has the number of the line.

    An object that has only ``metadata``, and perhaps ``repetitions``, is the long form. Empty lines are
    skipped.
    """
    for number, line in enumerate(read_lines(stream, name), start=1):
        if not line.isspace():
            try:
                yield _parse_line(line, name, number)
            except BadInputError as error:
                yield UnusableSeed(error)


def _parse_line(line: bytes, name: str, number: int) -> Seed:
    if len(line) > _LONG_LINE:
        refuse_many_values(line, f"{name} line {number}")
    try:
        row = parse_exactly(line)
    except orjson.JSONDecodeError as error:
        decode_text(line, name, first_line=number)  # if it is not text, that is the better message
        message = f"this is not valid JSON: {explain(error)} (column {error.colno})."
        raise line_error(name, number, message) from error
    if not isinstance(row, dict):
        raise line_error(name, number, "each line must be an object.")
    return parse_seed(row, f"{name} line {number}")
