"""Seed files: what a run starts from.

A seed is a record's variables and how often to use them. Files are read in a stream, so a file may be larger
than memory (JSON alone is loaded whole). What comes from a pipe is kept in an unnamed temporary file, which
the system removes with the process, so that it too can be read twice.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import json
import math
import os
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, Literal, Self, cast

import orjson

from penstock.errors import BadInputError, TooLargeError

SeedFormat = Literal["json", "jsonl", "csv", "parquet", "md"]

MAX_UPLOAD_BYTES = 10 * 1024 * 1024
"""The largest seed file that an upload may be (contract A163)."""
MAX_UNPACKED_BYTES = 1024 * 1024 * 1024
"""What an uploaded Parquet file may hold once it is unpacked."""
MAX_REPETITIONS = 1_000_000_000
"""The most repetitions of one seed; more is a slip of the finger."""
MAX_DEPTH = 100
"""How deep a seed's variables may be nested, so that whatever handles them later can."""

_EXTENSIONS: dict[str, SeedFormat] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".md": "md",
    ".markdown": "md",
}
_SURVEY_BYTES = 64 * 1024 * 1024
"""Up to this size a JSONL or CSV file is read through first: faults show early and the total is known."""
_CHUNK = 1024 * 1024
_BATCH_ROWS = 1024
_NO_SEEDS = "The seed file holds no seeds."


@dataclass(frozen=True, slots=True)
class Seed:
    """The variables of a seed, and how many records are made from them."""

    metadata: dict[str, Any]
    repetitions: int = 1

    def fresh(self) -> dict[str, Any]:
        """A copy of the variables, so that one repetition cannot change the next (contract A170)."""
        return cast("dict[str, Any]", _copy(self.metadata))


class SeedSource:
    """Seeds that can be iterated, as often as needed.

    ``total`` is the number of records that they ask for, or None when counting would mean reading a very
    large file twice. ``digest`` is the SHA-256 of the content. Close it (or use ``with``) to let go of what
    was kept of a pipe.
    """

    def __init__(
        self,
        name: str,
        format: SeedFormat,  # noqa: A002 - the word that users know it by
        read: Callable[[], Iterator[Seed]],
        *,
        digest: str,
        total: int | None,
        close: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.format: SeedFormat = format
        self.digest = digest
        self.total = total
        self._read = read
        self._close = close

    @classmethod
    def from_data(cls, data: object, name: str = "seeds") -> SeedSource:
        """Seeds that are in memory already, in the form of a JSON seed file; raises BadInputError."""
        seeds = parse_seeds(data)
        content = _dump([[seed.metadata, seed.repetitions] for seed in seeds])
        return cls(
            name,
            "json",
            lambda: iter(seeds),
            digest=hashlib.sha256(content).hexdigest(),
            total=_count(seeds),
        )

    def __iter__(self) -> Iterator[Seed]:
        return self._read()

    def head(self, count: int) -> list[dict[str, Any]]:
        """The variables of the first ``count`` seeds, for a check or a preview."""
        return [seed.metadata for seed in islice(self, count)]

    def close(self) -> None:
        """Let go of the temporary file, if there is one."""
        if self._close is not None:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_seeds(
    source: Path | str,
    *,
    format: SeedFormat | None = None,  # noqa: A002 - the word that users know it by
    max_bytes: int | None = None,
) -> SeedSource:
    """The seeds of a file, or of standard input when ``source`` is ``-``; raises BadInputError.

    The format is taken from the name unless it is given; for standard input it is told from the first bytes.
    """
    if str(source) == "-":
        return _spooled(sys.stdin.buffer, "standard input", format, max_bytes)
    path = Path(source)
    try:
        if path.is_dir():
            raise BadInputError(f"{path} is a folder; give a seed file.", {"file": str(path)})
        if path.exists() and not path.is_file():  # a pipe can be read only once
            with path.open("rb") as stream:
                return _spooled(stream, path.name, format, max_bytes)
        size = path.stat().st_size
        chosen = format or _format_of(path.name)
        _hold_to(size, max_bytes, path.name)
        return _source(path.name, chosen, lambda: path.open("rb"), size)
    except FileNotFoundError as error:
        raise BadInputError(f"There is no seed file {path}.", {"file": str(path)}) from error
    except OSError as error:
        raise BadInputError(
            f"The seed file {path} cannot be read: {error.strerror}.", {"file": str(path)}
        ) from error


def parse_upload(
    name: str, data: bytes, *, max_bytes: int = MAX_UPLOAD_BYTES, max_unpacked_bytes: int = MAX_UNPACKED_BYTES
) -> SeedSource:
    """The seeds of an uploaded file, all of it looked at (contract A156-A169); raises BadInputError."""
    chosen = _EXTENSIONS.get(Path(name).suffix.lower())
    if chosen is None:
        raise BadInputError(
            "Only .json or .md files are accepted (and .jsonl, .csv, .parquet).", {"file": Path(name).name}
        )
    _hold_to(len(data), max_bytes, Path(name).name)
    source = _source(
        Path(name).name, chosen, lambda: io.BytesIO(data), len(data), unpacked_limit=max_unpacked_bytes
    )
    if chosen == "parquet":
        source.total = _count(source)
    return source


def parse_seeds(data: object) -> list[Seed]:
    """The seeds of parsed JSON, an object or an array of them (contract A159-A169); raises BadInputError."""
    if not isinstance(data, dict | list):
        raise BadInputError("The JSON file must contain an object or an array of objects.")
    seeds = [_seed(item, f"Seed {number}") for number, item in enumerate(_listed(data), start=1)]
    if not seeds:
        raise BadInputError(_NO_SEEDS)
    return seeds


def _dump(value: object) -> bytes:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    except (TypeError, RecursionError):  # numbers beyond 64 bits, lone surrogates
        return json.dumps(value, sort_keys=True, default=str).encode()


def _listed(data: dict[Any, Any] | list[Any]) -> list[Any]:
    return data if isinstance(data, list) else [data]


def _seed(item: object, place: str) -> Seed:
    if not isinstance(item, dict):
        raise BadInputError(f"{place} must be an object. Please check your file structure.")
    if "metadata" not in item:
        raise BadInputError(f"{place} is missing the required 'metadata' field.")
    metadata = item["metadata"]
    if not isinstance(metadata, dict):
        raise BadInputError(
            f"{place} has a 'metadata' field that is not an object. Put its variables there by name."
        )
    _check_depth(metadata, place)
    return Seed(metadata, _repetitions(item.get("repetitions", 1), place))


def _check_depth(value: object, place: str) -> None:
    layer = [value]
    for _ in range(MAX_DEPTH):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if isinstance(outer, dict) else cast("list[object]", outer))
            if isinstance(inner, dict | list)
        ]
        if not layer:
            return
    raise BadInputError(f"{place} is nested more than {MAX_DEPTH} levels deep. Make it flatter.")


def _repetitions(value: object, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        return 1
    if value > MAX_REPETITIONS:
        raise BadInputError(
            f"{place} asks for {value} repetitions; at most {MAX_REPETITIONS:,} are possible."
        )
    return max(value, 0)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _count(seeds: Iterable[Seed]) -> int:
    return sum(seed.repetitions for seed in seeds)


def _hold_to(size: int, limit: int | None, name: str) -> None:
    if limit is not None and size > limit:
        raise TooLargeError(
            f"{name} is larger than the {limit / 1024 / 1024:.3g} MB that are accepted.",
            {"limit_bytes": limit},
        )


def _format_of(name: str) -> SeedFormat:
    if chosen := _EXTENSIONS.get(Path(name).suffix.lower()):
        return chosen
    raise BadInputError(
        f"{name}: only .json, .jsonl, .csv, .parquet or .md files are accepted. "
        "Rename it, or say which of these formats it has.",
        {"file": name},
    )


def _guess(start: bytes) -> SeedFormat:
    """The format of content without a name, from its first bytes."""
    if start.startswith(b"PAR1"):
        return "parquet"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"["):
        return "json"
    if text.startswith(b"{"):
        try:
            orjson.loads(text.partition(b"\n")[0])
        except orjson.JSONDecodeError:
            return "json"
        return "jsonl"
    raise BadInputError("The format of the seeds cannot be told from their beginning; say which it is.")


class _Spool:
    """A temporary file without a name, which several readers may read side by side."""

    def __init__(self, stream: IO[bytes], name: str, limit: int | None) -> None:
        self._file = cast("BinaryIO", tempfile.TemporaryFile(prefix="penstock-seeds-"))  # noqa: SIM115 - lives on
        self._lock = threading.Lock()
        self.size = 0
        try:
            while chunk := stream.read(_CHUNK):
                self.size += len(chunk)
                _hold_to(self.size, limit, name)
                self._file.write(chunk)
            self._file.flush()
        except BaseException:
            self._file.close()
            raise

    def read_at(self, offset: int, count: int) -> bytes:
        with self._lock:
            self._file.seek(offset)
            return self._file.read(count)

    def open(self) -> BinaryIO:
        return io.BufferedReader(_SpoolReader(self), _CHUNK)

    def close(self) -> None:
        self._file.close()


class _SpoolReader(io.RawIOBase):
    def __init__(self, spool: _Spool) -> None:
        self._spool = spool
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._spool.read_at(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._spool.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position


def _spooled(stream: IO[bytes], name: str, format: SeedFormat | None, limit: int | None) -> SeedSource:  # noqa: A002
    spool = _Spool(stream, name, limit)
    try:
        chosen = format or _guess(spool.read_at(0, _CHUNK))
        return _source(name, chosen, spool.open, spool.size, close=spool.close)
    except BaseException:
        spool.close()
        raise


def _source(
    name: str,
    chosen: SeedFormat,
    open_stream: Callable[[], BinaryIO],
    size: int,
    *,
    unpacked_limit: int | None = None,
    close: Callable[[], None] | None = None,
) -> SeedSource:
    """A source over whatever ``open_stream`` opens; looks through it as far as that is cheap."""
    upload = unpacked_limit is not None
    with open_stream() as stream:
        hashed = hashlib.sha256()
        while chunk := stream.read(_CHUNK):
            hashed.update(chunk)
    digest = hashed.hexdigest()

    def read() -> Iterator[Seed]:
        with open_stream() as stream:
            yield from _READERS[chosen](stream, name)

    total: int | None = None
    try:
        if chosen in {"json", "md"}:
            seeds = list(read())
            return SeedSource(
                name, chosen, lambda: iter(seeds), digest=digest, total=_count(seeds), close=close
            )
        if next(read(), None) is None:
            raise BadInputError(_NO_SEEDS)
        if chosen == "parquet":
            with open_stream() as stream:
                total = _count_parquet(stream, name, unpacked_limit)
        elif upload or size <= _SURVEY_BYTES:
            total = _count(read())
    except BadInputError as error:
        if upload or error.message.startswith(name):
            raise
        raise type(error)(f"{name}: {error.message}", {"file": name, **error.detail}) from error
    return SeedSource(name, chosen, read, digest=digest, total=total, close=close)


def _fault(name: str, line: int, what: str) -> BadInputError:
    return BadInputError(f"{name} line {line}: {what}", {"file": name, "line": line})


def _text(data: bytes, name: str) -> str:
    """``data`` as text; raises BadInputError when it is not UTF-8, or no text at all."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _fault(name, line, "this is not UTF-8 text. Save the file as UTF-8.") from error
    if "\0" in text:
        raise _fault(name, text.count("\n", 0, text.index("\0")) + 1, "this is binary data, not text.")
    return text


def _read_json(stream: BinaryIO, name: str) -> Iterator[Seed]:
    data = stream.read()
    text = _text(data, name)
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadInputError(
            f"The JSON file is invalid: {error}. Please check your file syntax.", {"line": error.lineno}
        ) from error
    yield from parse_seeds(parsed)


def _read_jsonl(stream: BinaryIO, name: str) -> Iterator[Seed]:
    for number, line in enumerate(stream, start=1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901 - the mark is no part of the line
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            _say_if_not_text(line, name, number)
            raise _fault(
                name, number, f"this is not valid JSON: {error.msg} (column {error.colno})."
            ) from error
        if not isinstance(row, dict):
            raise _fault(name, number, "each line must be an object.")
        yield _seed(row if "metadata" in row else {"metadata": row}, f"{name} line {number}")


def _say_if_not_text(line: bytes, name: str, number: int) -> None:
    try:
        _text(line, name)
    except BadInputError as error:
        raise _fault(name, number, error.message.partition(": ")[2]) from error


def _read_csv(stream: BinaryIO, name: str) -> Iterator[Seed]:
    csv.field_size_limit(2**31 - 1)  # the module's own limit, 128 KB, is less than a document
    lines = _csv_lines(stream, name)
    first = next(lines, None)
    if first is None:
        return
    rows = csv.reader(_chain(first, lines), delimiter=_delimiter(first, name), strict=True)
    try:
        columns = [column.strip() for column in next(rows)]
        _check_columns(columns, name, rows.line_num)
        for row in rows:
            if not row:
                continue
            if len(row) != len(columns):
                what = f"{len(row)} cells, but the header names {len(columns)} columns."
                raise _fault(name, rows.line_num, what)
            yield Seed(dict(zip(columns, row, strict=True)))
    except csv.Error as error:
        raise _fault(name, rows.line_num, f"this is not valid CSV: {error}.") from error


def _csv_lines(stream: BinaryIO, name: str) -> Iterator[str]:
    for number, line in enumerate(stream, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise _fault(name, number, "this is not UTF-8 text. Save the file as UTF-8.") from error
        if "\0" in text:
            raise _fault(name, number, "this is binary data, not text.")
        yield text


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(header: str, name: str) -> str:
    """What separates the columns: the candidate that stands most often in the header, outside of quotes."""
    if name.lower().endswith(".tsv"):
        return "\t"
    bare = "".join(header.split('"')[::2])
    return max(",;\t|", key=bare.count)


def _check_columns(columns: Sequence[str], name: str, line: int) -> None:
    for number, column in enumerate(columns, start=1):
        if not column:
            raise _fault(name, line, f"column {number} has no name. Each column is a variable, so name it.")
        if column in columns[: number - 1]:
            raise _fault(name, line, f"the column {column!r} is there twice. Rename one of them.")


def _read_md(stream: BinaryIO, name: str) -> Iterator[Seed]:
    text = _text(stream.read(), name)
    if not text.strip():
        raise BadInputError("Markdown file is empty")
    yield Seed({"file_content": text})


def _read_parquet(stream: BinaryIO, name: str) -> Iterator[Seed]:
    import pyarrow as pa

    number = 0
    try:
        file = _open_parquet(stream, name)
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for row in batch.to_pylist(maps_as_pydicts="strict"):
                number += 1
                yield Seed({key: _plain(value, name, number, key) for key, value in row.items()})
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise BadInputError(f"{name} cannot be read after row {number}: {error}", {"file": name}) from error


def _open_parquet(stream: BinaryIO, name: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(stream)
    except (pa.ArrowException, OSError) as error:
        raise BadInputError(f"{name} is not a readable Parquet file: {error}", {"file": name}) from error
    names = file.schema_arrow.names
    if twice := {column for column in names if names.count(column) > 1}:
        raise BadInputError(
            f"{name} has the column {min(twice)!r} twice. Rename one of them.", {"file": name}
        )
    return file


def _count_parquet(stream: BinaryIO, name: str, limit: int | None) -> int:
    facts = _open_parquet(stream, name).metadata
    unpacked = sum(facts.row_group(number).total_byte_size for number in range(facts.num_row_groups))
    _hold_to(unpacked, limit, f"{name}, unpacked,")
    return int(facts.num_rows)


def _plain(value: Any, name: str, row: int, column: str) -> Any:  # noqa: C901, PLR0911 - one line a type
    """A Parquet value as JSON knows it: times in ISO form, decimals as numbers, bytes as their text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise BadInputError(
            f"{name} row {row}: the column {column!r} holds {value}, which is not a value. Use null instead.",
            {"file": name, "row": row, "column": column},
        )
    if isinstance(value, dict):
        return {str(key): _plain(item, name, row, column) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, name, row, column) for item in value]
    if isinstance(value, Decimal):
        whole = value == value.to_integral_value() and abs(value) < 2**63
        return int(value) if whole else float(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise BadInputError(
                f"{name} row {row}: the column {column!r} holds binary data. Leave that column out.",
                {"file": name, "row": row, "column": column},
            ) from error
    raise BadInputError(
        f"{name} row {row}: the column {column!r} holds a {type(value).__name__}, which a seed cannot.",
        {"file": name, "row": row, "column": column},
    )


_READERS: dict[SeedFormat, Callable[[BinaryIO, str], Iterator[Seed]]] = {
    "json": _read_json,
    "jsonl": _read_jsonl,
    "csv": _read_csv,
    "parquet": _read_parquet,
    "md": _read_md,
}
