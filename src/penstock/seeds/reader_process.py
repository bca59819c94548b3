"""A process that reads a seed file: it can be stopped at any moment, and its memory is limited.

A Parquet file of some hundred bytes may hold gigabytes, and a damaged one may end the process that reads it.
``reader_main`` is the program of that process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, BinaryIO

import orjson

from penstock.errors import BadInputError, TooLargeError
from penstock.seeds.formats.detection import SeedFormat
from penstock.seeds.limits import MAX_UNPACKED_BYTES
from penstock.seeds.model import Seed, UnusableSeed
from penstock.serialization import parse_json

_MEMORY_BYTES = 512 * 1024 * 1024
"""How much the process may take; Python and Arrow take a quarter of it."""
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from penstock.seeds.reader_main import main; main(json.loads(sys.argv[2]))"
)
_SETTINGS = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
"""Make the memory that Arrow takes predictable."""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What the process is asked to read from its standard input."""

    name: str
    format: SeedFormat
    separator: str | None = None
    is_upload: bool = False
    """Whether every seed is checked, and the whole limited in size."""
    is_compressed: bool = False
    unpacked_limit: int = MAX_UNPACKED_BYTES
    memory_bytes: int = _MEMORY_BYTES
    cpu_seconds: int | None = None
    check_only: bool = False
    """Whether the seeds are only checked: none is written, and the first that cannot be used is an error."""

    def to_command(self) -> list[str]:
        """The command of the process; it imports what this process would."""
        arguments = (orjson.dumps(value).decode() for value in (sys.path, asdict(self)))
        return [sys.executable, "-P", "-c", _PROGRAM, *arguments]


def environment() -> dict[str, str]:
    """The environment of the process."""
    return {**os.environ, **_SETTINGS}


def read_entries(open_stream: Callable[[], BinaryIO], request: ReadRequest) -> Iterator[Seed | UnusableSeed]:
    """The seeds of a file, read by a process of its own, which ends with this iterator."""
    with _Reader(open_stream, request) as reader:
        yield from reader.entries()


def count_rows(open_stream: Callable[[], BinaryIO], request: ReadRequest) -> tuple[int, bool]:
    """The number of rows, as the file says itself, and whether there is one; raises BadInputError."""
    with _Reader(open_stream, request) as reader:
        return reader.total, next(reader.entries(), None) is not None


def check_entries(open_stream: Callable[[], BinaryIO], request: ReadRequest) -> None:
    """Raise BadInputError when a seed of a file cannot be used."""
    for _ in read_entries(open_stream, replace(request, check_only=True)):
        pass


def parse_entry(line: bytes) -> Seed | UnusableSeed:
    """The seed of a line that the process wrote."""
    value = parse_json(line)
    return UnusableSeed(to_error(value)) if isinstance(value, dict) else Seed(*value)


def to_error(value: dict[str, Any]) -> BadInputError:
    """The error that the process has described."""
    kind = TooLargeError if value.get("is_too_large") else BadInputError
    return kind(value["error"], value.get("detail"))


def raise_for_end(value: Any, name: str) -> dict[str, Any]:
    """What the last line says of the file; raises BadInputError when it could not be read to its end."""
    end = value.get("end") if isinstance(value, dict) else None
    if end is None:
        raise BadInputError(
            f"{name} cannot be read: it needs too much memory or time, or it is damaged. "
            "Make it smaller, or write it anew.",
            {"file": name},
        )
    if "error" in end:
        raise to_error(end)
    return dict(end)


class _Reader:
    """The process, while its answer is read; ``total`` is the number of rows that the file says it has."""

    def __init__(self, open_stream: Callable[[], BinaryIO], request: ReadRequest) -> None:
        self._name = request.name
        with open_stream() as stream:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                request.to_command(),
                stdin=stream.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment(),
            )
        self.total = 0

    def __enter__(self) -> _Reader:
        try:
            first = parse_json(self._read_line())
            if not isinstance(first, int):
                raise_for_end(first, self._name)
            self.total = first
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close()

    def entries(self) -> Iterator[Seed | UnusableSeed]:
        """The seeds; raises BadInputError when the process ends before the file does."""
        while not (line := self._read_line()).startswith(b'{"end"'):
            yield parse_entry(line)
        raise_for_end(parse_json(line), self._name)

    def _read_line(self) -> bytes:
        """The next line; the process has died when there is none, or only a part of one."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return line if line.endswith(b"\n") else b'{"end":null}'

    def _close(self) -> None:
        self._process.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.wait()
