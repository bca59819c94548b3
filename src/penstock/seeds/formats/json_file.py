"""JSON seed files: an object, or an array of objects, each with the key ``metadata``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import orjson

from penstock.errors import BadInputError
from penstock.seeds.formats.json_text import explain, parse_exactly
from penstock.seeds.formats.text import decode_text
from penstock.seeds.model import Seed, parse_seeds


def read_json(stream: BinaryIO, name: str) -> Iterator[Seed]:
    """The seeds of a JSON file, which is loaded whole; raises BadInputError."""
    text = decode_text(stream.read(), name)
    try:
        parsed = parse_exactly(text)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise BadInputError(
            f"The JSON file is invalid: {explain(error)} ({place}). Please check your file syntax.",
            {"line": error.lineno},
        ) from error
    yield from parse_seeds(parsed)
