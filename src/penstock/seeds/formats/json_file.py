"""JSON seed files: an object, or an array of objects, in the long form of a seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import orjson

from penstock.errors import BadInputError
from penstock.seeds.formats.text import decode_text
from penstock.seeds.model import Seed, parse_seeds


def read_json(stream: BinaryIO, name: str) -> Iterator[Seed]:
    """The seeds of a JSON file, which is loaded whole; raises BadInputError."""
    text = decode_text(stream.read(), name)
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadInputError(
            f"The JSON file is invalid: {error}. Please check your file syntax.", {"line": error.lineno}
        ) from error
    yield from parse_seeds(parsed)
