"""Exports: records as files that people and training code read.

Everything streams: memory does not grow with the number of records. Where a file needs to know all columns
before its first row (CSV without a mapping, Parquet), the rows go through a temporary file first.

Values are written as they are. A cell that begins with ``=``, ``+``, ``-`` or ``@`` is not altered either,
although a spreadsheet may take it for a formula: this is training data, and a changed character would be a
changed example. Whoever opens a CSV in a spreadsheet should import its columns as text.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import orjson
import yaml

from penstock.errors import BadInputError, StorageError

FORMATS = ("jsonl", "csv", "parquet", "openai", "sharegpt", "alpaca")
"""The formats that records can be exported in."""

EXTENSIONS = {
    "jsonl": ".jsonl",
    "csv": ".csv",
    "parquet": ".parquet",
    "openai": ".jsonl",
    "sharegpt": ".jsonl",
    "alpaca": ".jsonl",
}
"""What a file of each format is called."""

_FACTS = ("id", "status", "created_at", "updated_at")
_MISSING: Any = object()
_BREATH = 200
"""Rows after which whatever else waits on the event loop gets its turn."""
_GROUP_ROWS = 5_000
_GROUP_BYTES = 16 * 1024 * 1024
"""A Parquet row group ends with whichever of these comes first, which bounds the memory of writing it."""
_STRUCT_FIELDS = 100
"""A Parquet column with more nested fields than this is written as JSON text."""

_CHAT: dict[str, tuple[str, ...]] = {
    "system": ("system",),
    "user": ("user", "user_prompt"),
    "assistant": ("assistant",),
}
_ALPACA: dict[str, tuple[str, ...]] = {
    "instruction": ("instruction", "user", "user_prompt"),
    "input": ("input",),
    "output": ("assistant",),
}
_TEMPLATES: dict[str, tuple[dict[str, tuple[str, ...]], frozenset[str]]] = {
    "openai": (_CHAT, frozenset({"system"})),
    "sharegpt": (_CHAT, frozenset({"system"})),
    "alpaca": (_ALPACA, frozenset({"input"})),
}
"""By format: where each of its fields comes from unless a mapping says so, and which may be missing."""

_SECRET_KEY = re.compile(
    r"(?i)(^|[_\-.])((api|access|secret|private|auth|client)[_\-]?(key|secret|token)s?|token|secret|password|passwd"
    r"|authorization|credentials?|cookie)$|apikey$"
)
_SECRET_TEXT = re.compile(
    r"\b(?:sk|pk|rk|hf|ghp|gho|glpat|xox[abp])[-_][A-Za-z0-9_\-]{16,}"
    r"|\bAKIA[A-Z0-9]{16}\b|\bAIza[A-Za-z0-9_\-]{30,}"
    r"|(?<=Bearer )[A-Za-z0-9._~+/\-]{8,}=*"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
_MASK = "***"


@dataclass(slots=True)
class ExportReport:
    """What an export wrote: rows and bytes; ``skipped`` counts records without what the format needs."""

    rows: int = 0
    bytes: int = 0
    skipped: int = 0


@dataclass(slots=True)
class _Run:
    """One export: makes rows of records, and knows what it left out and why."""

    format: str
    mapping: Mapping[str, str] | None
    report: ExportReport = field(default_factory=ExportReport)
    _unfound: dict[str, int] = field(default_factory=dict)
    _known: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise BadInputError(f"There is no export format '{self.format}'; there are {', '.join(FORMATS)}.")
        if self.mapping is not None and self.format in _TEMPLATES:
            fields = _TEMPLATES[self.format][0]
            for name in self.mapping:
                if name not in fields:
                    raise BadInputError(
                        f"The format {self.format} has no field '{name}'; map {', '.join(fields)}.",
                        {"field": name, "known": list(fields)},
                    )

    @property
    def columns(self) -> list[str] | None:
        """The columns, where they are known before the first record."""
        return list(self.mapping) if self.mapping and self.format not in _TEMPLATES else None

    def row(self, record: Any) -> dict[str, Any] | None:
        """The record in this format; None when it lacks what the format needs."""
        facts = _facts(record)
        row = self._make(facts)
        if row is None:
            self.report.skipped += 1
            if len(self._known) < 200:
                self._known.update(dict.fromkeys(_known_fields(facts)))
        else:
            self.report.rows += 1
        return row

    def _make(self, facts: dict[str, Any]) -> dict[str, Any] | None:
        if self.format in _TEMPLATES:
            return self._example(facts)
        if self.mapping:
            row = {}
            for name, path in self.mapping.items():
                value = _find(facts, path)
                if value is _MISSING:
                    self._miss(path)
                    return None
                row[name] = value
            return row
        return _line(facts) if self.format == "jsonl" else _flat(facts)

    def _example(self, facts: dict[str, Any]) -> dict[str, Any] | None:
        """A training example; a failed record is none, and neither is one without a question or an answer."""
        fields, optional = _TEMPLATES[self.format]
        if facts["status"] == "failed":
            return None
        found: dict[str, str] = {}
        for name, usual in fields.items():
            mapped = (self.mapping or {}).get(name)
            paths = (mapped,) if mapped else usual
            value = next((value for path in paths if (value := _find(facts, path)) is not _MISSING), None)
            if value is None and mapped is None and name in optional:
                value = ""
            if value is None or (value == "" and name not in optional):
                self._miss(mapped or name)
                return None
            found[name] = _as_text(value)
        return _SHAPES[self.format](found)

    def _miss(self, path: str) -> None:
        self._unfound[path] = self._unfound.get(path, 0) + 1

    def finish(self) -> None:
        """Refuse an export that left everything out for want of a field."""
        if self.report.rows or not self._unfound:
            return
        path = max(self._unfound, key=lambda each: self._unfound[each])
        how = (
            ""
            if self.mapping and path in self.mapping.values()
            else f"; map it, as in {path}=generated.answer"
        )
        raise BadInputError(
            f"No record has the field '{path}'{how}. There are {', '.join(self._known)}.",
            {"field": path, "known": list(self._known)},
        )


async def iter_lines(
    records: AsyncIterator[Any],
    format: str,  # noqa: A002 - the word that users know it by
    mapping: Mapping[str, str] | None = None,
    *,
    report: ExportReport | None = None,
) -> AsyncIterator[bytes]:
    """The export line by line, for an HTTP answer or a pipe; any format but Parquet.

    Raises BadInputError for an unknown format or field, before the first line.
    """
    if format == "parquet":
        raise BadInputError("Parquet is no text; use open_export, which gives a file.")
    run = _Run(format, mapping, report or ExportReport())
    if format == "csv":
        async for line in _csv_lines(records, run):
            yield line
        return
    async for row in _rows(records, run):
        line = _dump(row) + b"\n"
        run.report.bytes += len(line)
        yield line
    run.finish()


async def preview(
    records: AsyncIterator[Any],
    format: str,  # noqa: A002 - the word that users know it by
    mapping: Mapping[str, str] | None = None,
    *,
    limit: int,
) -> tuple[list[dict[str, Any]], ExportReport]:
    """The first ``limit`` rows of an export, as data; raises BadInputError as an export would."""
    run = _Run(format, mapping)
    rows: list[dict[str, Any]] = []
    async for row in _rows(records, run):
        rows.append(row)
        if len(rows) >= limit:
            return rows, run.report
    run.finish()
    return rows, run.report


async def export(
    records: AsyncIterator[Any],
    target: Path | str,
    format: str,  # noqa: A002 - the word that users know it by
    mapping: Mapping[str, str] | None = None,
) -> ExportReport:
    """Write records to the file ``target``, which appears, or changes, only when it is complete.

    ``mapping`` says where fields come from: ``{"instruction": "user", "output": "generated.answer"}``, each a
    path into the record's state, its metadata, or the record itself. Raises BadInputError for an unknown
    format or field, StorageError when the file cannot be written.
    """
    target = Path(target)
    run = _Run(format, mapping)
    with _replacing(target) as file:
        await _write(records, run, file, target.parent)
        run.report.bytes = file.tell()
    return run.report


async def open_export(
    records: AsyncIterator[Any],
    format: str,  # noqa: A002 - the word that users know it by
    mapping: Mapping[str, str] | None = None,
) -> tuple[IO[bytes], ExportReport]:
    """The export as an unnamed temporary file, at its beginning; whoever asked closes it."""
    run = _Run(format, mapping)
    file = tempfile.TemporaryFile(prefix="penstock-export-")  # noqa: SIM115 - the caller's to close
    try:
        await _write(records, run, cast("BinaryIO", file), None)
        run.report.bytes = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file, run.report


async def export_dataset(
    records: AsyncIterator[Any],
    target: Path | str,
    format: str,  # noqa: A002 - the word that users know it by
    mapping: Mapping[str, str] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> ExportReport:
    """Write a dataset: one file, or with a card and the pipeline into a folder.

    ``target`` is a file when its name has a suffix and it is no folder. For ``facts`` see ``write_card``.
    """
    target = Path(target)
    if target.suffix and not target.is_dir():
        return await export(records, target, format, mapping)
    if format not in FORMATS:
        raise BadInputError(f"There is no export format '{format}'; there are {', '.join(FORMATS)}.")
    data = target / f"train{EXTENSIONS[format]}"
    report = await export(records, data, format, mapping)
    write_card(target, {**(facts or {}), "format": format, "data": data.name, "rows": report.rows})
    return report


async def _rows(records: AsyncIterator[Any], run: _Run) -> AsyncIterator[dict[str, Any]]:
    count = 0
    async for record in records:
        count += 1
        if count % _BREATH == 0:
            await asyncio.sleep(0)
        if (row := run.row(record)) is not None:
            yield row


async def _write(records: AsyncIterator[Any], run: _Run, file: BinaryIO, folder: Path | None) -> None:
    if run.format == "parquet":
        with _Spool(folder) as spool:
            async for row in _rows(records, run):
                spool.add(row)
            run.finish()
            await asyncio.to_thread(_write_parquet, spool, file, run.columns)
        return
    lines = iter_lines(records, run.format, run.mapping, report=run.report)
    async for line in lines:
        file.write(line)


class _Spool:
    """Rows on their way through a temporary file, and the columns that they have."""

    def __init__(self, folder: Path | None) -> None:
        self._file = tempfile.TemporaryFile(prefix=".penstock-", dir=folder)  # noqa: SIM115 - see __exit__
        self.columns: dict[str, None] = {}

    def add(self, row: dict[str, Any]) -> None:
        self.columns.update(dict.fromkeys(row))
        try:
            line = orjson.dumps(row, default=str, option=orjson.OPT_NON_STR_KEYS)
        except (TypeError, ValueError):
            line = b" " + _dump(row)  # the blank says that orjson would not read it back as it was
        self._file.write(line + b"\n")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (row for row, _ in self.sized())

    def sized(self) -> Iterator[tuple[dict[str, Any], int]]:
        """The rows with the size of their JSON in bytes."""
        self._file.seek(0)
        for line in self._file:
            yield (json.loads if line.startswith(b" ") else orjson.loads)(line), len(line)

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


async def _csv_lines(records: AsyncIterator[Any], run: _Run) -> AsyncIterator[bytes]:
    if (columns := run.columns) is not None:
        writer = _CsvWriter(columns)
        waiting: bytes | None = writer.header()
        async for row in _rows(records, run):
            line = (waiting or b"") + writer.line(row)
            waiting = None
            run.report.bytes += len(line)
            yield line
        run.finish()
        if waiting is not None:
            run.report.bytes += len(waiting)
            yield waiting
        return
    with _Spool(None) as spool:
        async for row in _rows(records, run):
            spool.add(row)
        if not spool.columns:
            return
        writer = _CsvWriter(list(spool.columns))
        line = writer.header()
        for number, row in enumerate(spool, start=1):
            run.report.bytes += len(line)
            yield line
            line = writer.line(row)
            if number % _BREATH == 0:
                await asyncio.sleep(0)
        run.report.bytes += len(line)
        yield line


class _CsvWriter:
    """Rows as CSV after RFC 4180, in UTF-8: text stays text, anything else is written as JSON."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._buffer = io.StringIO(newline="")
        self._writer = csv.writer(self._buffer)

    def header(self) -> bytes:
        return self._encode(self._columns)

    def line(self, row: Mapping[str, Any]) -> bytes:
        values = (row.get(column) for column in self._columns)
        return self._encode(["" if value is None else _as_text(value) for value in values])

    def _encode(self, cells: Iterable[str]) -> bytes:
        self._buffer.seek(0)
        self._buffer.truncate()
        self._writer.writerow(cells)
        return self._buffer.getvalue().encode("utf-8", "replace")


def _write_parquet(spool: _Spool, file: BinaryIO, columns: Sequence[str] | None) -> None:
    """Write the spooled rows; a column whose values have no type in common becomes text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(columns if columns is not None else spool.columns)
    as_text: set[str] = set()
    types = _infer_types(spool, names, as_text)
    while True:
        schema = pa.schema([(name, types.get(name, pa.string())) for name in names])
        file.seek(0)
        file.truncate()
        faulty: str | None = None
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for rows in _groups(spool):
                arrays = []
                for name in names:
                    try:
                        arrays.append(_array(rows, name, types.get(name), as_text))
                    except (pa.ArrowException, OverflowError, TypeError, ValueError):
                        faulty = name  # a value that the common type cannot hold after all
                        break
                if faulty is not None:
                    break
                writer.write_batch(pa.record_batch(arrays, schema=schema))
        if faulty is None:
            return
        if faulty in as_text:
            raise StorageError(f"The column '{faulty}' cannot be written as Parquet; export it as JSONL.")
        as_text.add(faulty)
        types[faulty] = pa.string()


def _infer_types(spool: _Spool, names: Sequence[str], as_text: set[str]) -> dict[str, Any]:
    import pyarrow as pa

    types: dict[str, Any] = {}
    for rows in _groups(spool):
        for name in names:
            if name in as_text:
                continue
            try:
                found = _array(rows, name, None, as_text).type
                if name in types:
                    pair = [pa.schema([(name, types[name])]), pa.schema([(name, found)])]
                    found = pa.unify_schemas(pair, promote_options="permissive").field(0).type
                if not _writable(found):
                    raise pa.ArrowTypeError(name)
                types[name] = found
            except (pa.ArrowException, OverflowError, TypeError, ValueError, RecursionError):
                as_text.add(name)
                types[name] = pa.string()
    return {name: _without_null(found) for name, found in types.items()}


def _array(rows: list[dict[str, Any]], name: str, type_: Any, as_text: set[str]) -> Any:
    import pyarrow as pa

    values = [row.get(name) for row in rows]
    if name in as_text:
        texts = (None if value is None else _as_text(value) for value in values)
        values = [None if text is None else text.encode("utf-8", "replace").decode() for text in texts]
    elif type_ is None and _is_wide(values):
        raise TypeError(name)
    return pa.array(values, type=type_)


def _is_wide(values: list[Any]) -> bool:
    """Whether values hold objects that are nearer to dictionaries than to records with fields."""
    keys: set[str] = set()
    for value in values:
        if isinstance(value, dict):
            keys.update(value)
            if len(keys) > _STRUCT_FIELDS:
                return True
    return False


def _writable(found: Any) -> bool:
    """Whether Parquet can hold the type; it knows no object without fields."""
    import pyarrow as pa

    if pa.types.is_struct(found):
        return found.num_fields > 0 and all(_writable(found.field(i).type) for i in range(found.num_fields))
    return _writable(found.value_type) if pa.types.is_list(found) else True


def _without_null(found: Any) -> Any:
    """The type with text in place of what was null throughout."""
    import pyarrow as pa

    if pa.types.is_null(found):
        return pa.string()
    if pa.types.is_list(found):
        return pa.list_(_without_null(found.value_type))
    if pa.types.is_struct(found):
        fields = [found.field(i) for i in range(found.num_fields)]
        return pa.struct([(each.name, _without_null(each.type)) for each in fields])
    return found


def _groups(spool: _Spool) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    size = 0
    for row, length in spool.sized():
        rows.append(row)
        size += length
        if len(rows) >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _facts(record: Any) -> dict[str, Any]:
    """A record, entity or plain data, as data with its ``accumulated_state``."""
    if isinstance(record, Mapping):
        facts = dict(record)
    else:
        facts = record.to_dict(trace=False)
        facts["accumulated_state"] = record.accumulated_state
    metadata = facts.get("metadata")
    facts["metadata"] = metadata = metadata if isinstance(metadata, dict) else {}
    if not isinstance(facts.get("accumulated_state"), dict):
        facts["accumulated_state"] = _changed(facts.get("trace"), metadata)
    facts["status"] = str(facts.get("status", "pending"))
    for name in ("created_at", "updated_at"):
        moment = facts.get(name)
        if moment is not None and not isinstance(moment, str):
            facts[name] = moment.isoformat()
    return facts


def _changed(trace: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The last state without the keys whose value is still the seed's (contract D8)."""
    last = trace[-1].get("accumulated_state") if isinstance(trace, list) and trace else None
    if not isinstance(last, dict):
        return {}
    return {key: value for key, value in last.items() if not _is_same(value, metadata.get(key, _MISSING))}


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _line(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A record as a line of JSONL (contract A204); a failed one says why."""
    names = ("id", "metadata", "status", "accumulated_state", "created_at", "updated_at")
    line = {name: facts.get(name) for name in names}
    if facts["status"] == "failed" and facts.get("error"):
        line["error"] = facts["error"]
    return line


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A record as a row of a table: what the record is, and a column for each field of its last state."""
    row = {name: facts.get(name) for name in _FACTS}
    for source in ("metadata", "accumulated_state"):
        for name, value in facts[source].items():
            row[f"{source}.{name}" if name in _FACTS else name] = value
    return row


def _known_fields(facts: Mapping[str, Any]) -> list[str]:
    """Paths that a mapping could name, for a message."""
    known = []
    for name, value in {**facts["metadata"], **facts["accumulated_state"]}.items():
        inner = [f"{name}.{key}" for key in value] if isinstance(value, dict) else []
        known.extend(inner[:20] or [name])
    return [*known, *(name for name in ("output", *_FACTS) if facts.get(name) is not None)]


def _find(facts: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path: in the last state, else in the metadata, else of the record itself."""
    for place in (facts["accumulated_state"], facts["metadata"], facts):
        if path in place:
            return place[path]
        value = _inside(place, path.split("."))
        if value is not _MISSING:
            return value
    return _MISSING


def _inside(value: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and len(part) < 10 and int(part) < len(value):
            value = value[int(part)]
        else:
            return _MISSING
    return value


def _as_text(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else _dump(value).decode()


def _dump(value: Any) -> bytes:
    """A value as JSON; where orjson cannot write it, the standard library does."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError):  # numbers beyond 64 bits, lone surrogates, deep nesting
        return json.dumps(value, default=str, separators=(",", ":")).encode()


def _to_openai(found: Mapping[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in found.items() if text]}


def _to_sharegpt(found: Mapping[str, str]) -> dict[str, Any]:
    speakers = {"system": "system", "user": "human", "assistant": "gpt"}
    return {
        "conversations": [{"from": speakers[role], "value": text} for role, text in found.items() if text]
    }


_SHAPES: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
    "openai": _to_openai,
    "sharegpt": _to_sharegpt,
    "alpaca": dict,
}


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """A file that takes ``target``'s place when it is complete and safe on disk, and else leaves no trace."""
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:50]}.", suffix=".part", dir=target.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb+") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_usual_mode(target))
        temporary.replace(target)
        temporary = None
        _sync_folder(target.parent)
    except OSError as error:
        raise StorageError(
            f"{target} cannot be written: {error.strerror or error}.", {"file": str(target)}
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _usual_mode(target: Path) -> int:
    """The permissions that ``target`` has, or that a new file would be given."""
    with suppress(OSError):
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def mask_secrets(value: Any) -> Any:
    """A copy of plain data with ``***`` where a key, token or password stands."""
    if isinstance(value, Mapping):
        return {
            key: _MASK
            if isinstance(item, str) and item and "{{" not in item and _SECRET_KEY.search(str(key))
            else mask_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [mask_secrets(item) for item in value]
    return _SECRET_TEXT.sub(_MASK, value) if isinstance(value, str) else value


def write_card(folder: Path | str, facts: Mapping[str, Any]) -> None:
    """Write a dataset's card, ``README.md``, and its ``pipeline.yaml`` beside it.

    All facts may be missing: ``name``, ``description``, ``pipeline`` (the definition), ``pipeline_version``,
    ``penstock`` (version), ``model`` or ``models``, ``seeds``, ``seeds_digest``, ``counts`` (by status),
    ``usage`` (as ``Usage.to_dict`` gives it), ``format``, ``data`` (the file's name), ``rows``, ``license``,
    ``language``. Secrets in them are masked.
    """
    folder = Path(folder)
    known = cast("dict[str, Any]", mask_secrets(facts))
    definition = known.get("pipeline")
    if isinstance(definition, dict):
        text = yaml.safe_dump(definition, sort_keys=False, allow_unicode=True, width=100)
        with _replacing(folder / "pipeline.yaml") as file:
            file.write(text.encode("utf-8", "replace"))
    with _replacing(folder / "README.md") as file:
        file.write(_card(known).encode("utf-8", "replace"))


def _card(facts: Mapping[str, Any]) -> str:
    definition = facts["pipeline"] if isinstance(facts.get("pipeline"), dict) else {}
    name = " ".join(str(facts.get("name") or definition.get("name") or "Dataset").split())
    description = facts.get("description") or definition.get("description") or ""
    sections = [
        _front_matter(facts, name),
        f"# {_one_line(name)}",
        _one_line(description),
        "Synthetic data: a language model wrote it, by the pipeline in `pipeline.yaml`."
        if definition
        else "Synthetic data: a language model wrote it.",
        _table("How it was made", _made_rows(facts, definition)),
        _table(
            "Records",
            [
                (_one_line(key), f"{value:,}" if isinstance(value, int) else _one_line(value))
                for key, value in _mapping(facts.get("counts")).items()
            ],
        ),
        _table("Steps", _step_rows(definition), ("Step", "Gates that its output passed")),
        _table("What it cost", _usage_rows(_mapping(facts.get("usage")))),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(facts: Mapping[str, Any], name: str) -> str:
    matter: dict[str, Any] = {"pretty_name": name, "tags": ["synthetic", "penstock"]}
    for key in ("license", "language"):
        if facts.get(key):
            matter[key] = facts[key]
    if isinstance(facts.get("rows"), int):
        matter["size_categories"] = [_size_category(facts["rows"])]
    if facts.get("data"):
        files = [{"split": "train", "path": facts["data"]}]
        matter["configs"] = [{"config_name": "default", "data_files": files}]
    return f"---\n{yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)}---"


def _size_category(rows: int) -> str:
    bounds = [(1_000, "1K"), (10_000, "10K"), (100_000, "100K"), (1_000_000, "1M"), (10_000_000, "10M")]
    lower = ""
    for bound, word in bounds:
        if rows < bound:
            return f"{lower}<n<{word}" if lower else f"n<{word}"
        lower = word
    return "10M<n<100M"


def _made_rows(facts: Mapping[str, Any], definition: Mapping[str, Any]) -> list[tuple[str, str]]:
    models = facts.get("models") or facts.get("model")
    steps = definition.get("blocks") if isinstance(definition.get("blocks"), list) else []
    named = {str(_mapping(_mapping(step).get("config")).get("model") or "") for step in steps or []} - {""}
    shown = models if isinstance(models, list | tuple) else [models] if models else sorted(named)
    version = facts.get("pipeline_version")
    name = _one_line(definition.get("name") or "")
    rows = [
        ("Pipeline", f"{name}, version {version}" if name and version else name),
        ("Model", ", ".join(_code(model) for model in shown)),
        ("penstock", _one_line(facts.get("penstock") or "")),
        ("Seeds", _one_line(facts.get("seeds") or "")),
        (
            "SHA-256 of the seeds",
            _code(facts["seeds_digest"]) if facts.get("seeds_digest") else "",
        ),
        ("Format", _one_line(facts.get("format") or "")),
        ("Rows", f"{facts['rows']:,}" if isinstance(facts.get("rows"), int) else ""),
    ]
    return [(key, value) for key, value in rows if value]


def _step_rows(definition: Mapping[str, Any]) -> list[tuple[str, str]]:
    steps = definition.get("blocks")
    rows = []
    for step in steps if isinstance(steps, list) else []:
        gates = _mapping(step).get("gates")
        types = (
            [_one_line(_mapping(gate).get("type") or "") for gate in gates] if isinstance(gates, list) else []
        )
        rows.append((_one_line(_mapping(step).get("type") or ""), ", ".join(types) or "none"))
    return rows


def _usage_rows(usage: Mapping[str, Any]) -> list[tuple[str, str]]:
    words = {
        "llm_calls": "Model calls",
        "total_input_tokens": "Input tokens",
        "total_output_tokens": "Output tokens",
        "total_cached_tokens": "Cached tokens",
    }
    rows = [(word, f"{usage[key]:,}") for key, word in words.items() if isinstance(usage.get(key), int)]
    if usage:
        cost = usage.get("total_cost")
        rows.append(("Money", f"{cost:.4f} USD" if isinstance(cost, int | float) else "unknown"))
    return rows


def _table(title: str, rows: Sequence[tuple[str, str]], head: tuple[str, str] = ("", "")) -> str:
    if not rows:
        return ""
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows)]
    return f"## {title}\n\n" + "\n".join(lines)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _one_line(value: Any) -> str:
    """A value in a line of Markdown, its marks made harmless."""
    return re.sub(r"([|<>\[\]`*_#])", r"\\\1", " ".join(str(value).split()))


def _code(value: Any) -> str:
    text = " ".join(str(value).split())
    return f"`{text.replace('`', '').replace('|', '')}`"
