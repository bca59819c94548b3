"""The seed: the variables that a record starts from, and how many records to make from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from penstock.errors import BadInputError
from penstock.seeds.limits import MAX_DEPTH, MAX_REPETITIONS, MAX_SEED_VALUES

NO_SEEDS = "The seed file holds no seeds."
_SEED_KEYS = frozenset({"metadata", "repetitions"})
_CONTAINERS = (dict, list)


@dataclass(frozen=True, slots=True)
class Seed:
    """The variables of a seed, and how many records are made from them."""

    metadata: dict[str, Any]
    repetitions: int = 1


@dataclass(frozen=True, slots=True)
class UnusableSeed:
    """A seed with a value that cannot be used; the other seeds of its file can be."""

    error: BadInputError


def split_seed(seed: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    """The variables and the repetitions of a seed in memory, from either of its two forms.

    The long form is ``{"metadata": {…}, "repetitions": n}`` and has no other keys; the short form is the
    variables themselves. Repetitions that are not an ``int`` count as one.
    """
    if isinstance(seed.get("metadata"), Mapping) and seed.keys() <= _SEED_KEYS:
        repetitions = seed.get("repetitions", 1)
        return seed["metadata"], repetitions if type(repetitions) is int else 1
    return seed, 1


def parse_seeds(data: object) -> list[Seed]:
    """The seeds of parsed JSON: an object or an array of objects with ``metadata``.

    Raises BadInputError with the number of the seed that cannot be used (contract A159-A169).
    """
    if not isinstance(data, _CONTAINERS):
        raise BadInputError("The JSON file must contain an object or an array of objects.")
    items = data if isinstance(data, list) else [data]
    seeds = []
    for number, item in enumerate(items, start=1):
        place = f"Seed {number}"
        if not isinstance(item, dict):
            raise BadInputError(f"{place} must be an object. Please check your file structure.")
        if "metadata" not in item:
            raise BadInputError(f"{place} is missing the required 'metadata' field.")
        seeds.append(parse_seed(item, place))
    if not seeds:
        raise BadInputError(NO_SEEDS)
    return seeds


def parse_seed(item: dict[str, Any], place: str) -> Seed:
    """The seed of an object in a file: the long form, or else its variables.

    Only an object without other keys is the long form: a row of a data set may well have a column that is
    called ``metadata``. ``place`` names the seed in the message of a BadInputError.
    """
    is_long = "metadata" in item and item.keys() <= _SEED_KEYS
    metadata = item["metadata"] if is_long else item
    if not isinstance(metadata, dict):
        raise BadInputError(
            f"{place} has a 'metadata' field that is not an object. Make it an object of variables by name."
        )
    if not is_long and "repetitions" in item and isinstance(item.get("metadata"), dict):
        other = next(key for key in item if key not in _SEED_KEYS)
        raise BadInputError(
            f"{place} has '{other}' beside 'metadata' and 'repetitions'. Put it into 'metadata', "
            "or give 'repetitions' another name if all of them are variables."
        )
    check_values(metadata, place)
    return Seed(metadata, _parse_repetitions(item.get("repetitions", 1), place) if is_long else 1)


def check_values(variables: Mapping[str, Any], place: str) -> None:
    """Raise BadInputError for variables that cannot be kept as they are.

    That is what is nested deeper than ``MAX_DEPTH`` levels or has more than ``MAX_SEED_VALUES`` values, and
    text with a null character, which PostgreSQL cannot store.
    """
    level: list[Any] = [variables]
    count = 0
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for container in level:
            count += len(container)
            if count > MAX_SEED_VALUES:
                raise many_values_error(place)
            is_object = isinstance(container, dict)
            if is_object and any("\0" in key for key in container if isinstance(key, str)):
                raise BadInputError(f"{place} has a null character (\\u0000) in a name. Remove it.")
            for value in container.values() if is_object else container:
                if isinstance(value, str):
                    if "\0" in value:
                        raise BadInputError(f"{place} has a null character (\\u0000) in a text. Remove it.")
                elif isinstance(value, _CONTAINERS):
                    deeper.append(value)
        if not deeper:
            return
        level = deeper
    raise BadInputError(f"{place} is nested more than {MAX_DEPTH} levels deep. Make it flatter.")


def many_values_error(place: str) -> BadInputError:
    """The error for a seed with more than ``MAX_SEED_VALUES`` values."""
    return BadInputError(f"{place} has more than {MAX_SEED_VALUES:,} values. Make it smaller.")


def count_records(seeds: Iterable[Seed]) -> int:
    """How many records the seeds ask for."""
    return sum(seed.repetitions for seed in seeds)


def hash_seeds(seeds: Iterable[Seed]) -> str:
    """SHA-256 of seeds in memory, which is part of what identifies their run.

    The hashed bytes must never change, or an interrupted run would not be found again. They are therefore not
    written by ``penstock.serialization``, whose text differs for integers beyond 64 bits.
    """
    content = [[seed.metadata, seed.repetitions] for seed in seeds]
    try:
        text = orjson.dumps(content, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    except TypeError:  # integers beyond 64 bits, lone surrogates
        text = json.dumps(content, sort_keys=True, default=str).encode()
    return hashlib.sha256(text).hexdigest()


def _parse_repetitions(value: object, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        return 1
    if value > MAX_REPETITIONS:
        raise BadInputError(
            f"{place} asks for {value} repetitions; at most {MAX_REPETITIONS:,} are possible."
        )
    return max(value, 0)
