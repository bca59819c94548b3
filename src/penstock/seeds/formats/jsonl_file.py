"""JSONL seed files: each line is an object, either a seed in the long form or the variables of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import orjson

from penstock.seeds.formats.text import BYTE_ORDER_MARK, decode_text, line_error
from penstock.seeds.model import Seed, check_depth, parse_seed


def read_jsonl(stream: BinaryIO, name: str) -> Iterator[Seed]:
    """The seeds of a JSONL file, line by line; raises BadInputError with the number of the line.

    An object with the key ``metadata`` is read as the long form. Empty lines are skipped.
    """
    for number, line in enumerate(stream, start=1):
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)  # noqa: PLW2901 - not part of the JSON
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            decode_text(line, name, first_line=number)  # if it is not text, that is the better message
            raise line_error(
                name, number, f"this is not valid JSON: {error.msg} (column {error.colno})."
            ) from error
        if not isinstance(row, dict):
            raise line_error(name, number, "each line must be an object.")
        place = f"{name} line {number}"
        if "metadata" in row:
            yield parse_seed(row, place)
        else:
            check_depth(row, place)
            yield Seed(row)
