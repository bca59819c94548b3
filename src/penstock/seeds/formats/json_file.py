"""JSON seed files: an object, or an array of objects, each with the key ``metadata``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import orjson

from penstock.errors import BadInputError
from penstock.seeds.formats.json_text import explain, parse_exactly, refuse_many_values
from penstock.seeds.formats.text import BYTE_ORDER_MARK, decode_text
from penstock.seeds.limits import read_whole
from penstock.seeds.model import Seed, parse_seeds


def read_json(stream: BinaryIO, name: str) -> Iterator[Seed]:
    """The seeds of a JSON file, which is loaded whole; raises BadInputError."""
    data = read_whole(stream, name, "JSON").removeprefix(BYTE_ORDER_MARK)
    refuse_many_values(data, name)
    try:
        parsed = parse_exactly(data)
    except orjson.JSONDecodeError as error:
        decode_text(data, name)  # if it is not text, that is the better message
        place = f"line {error.lineno} column {error.colno}"
        raise BadInputError(
            f"The JSON file is invalid: {explain(error)} ({place}). Please check your file syntax.",
            {"line": error.lineno},
        ) from error
    del data
    yield from parse_seeds(parsed)
