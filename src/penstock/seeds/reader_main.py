"""The program of the process that reads a seed file for another one.

It reads the file at its standard input and writes a line of JSON for each seed to its standard output, the
last one says how reading ended. Its memory is limited, so that no file can take more, and so is its processor
time for an upload. See ``reader_process`` for the other side.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any, BinaryIO

import orjson

from penstock.errors import BadInputError, TooLargeError
from penstock.seeds.formats import count_parquet_rows, read_parquet, read_seeds
from penstock.seeds.limits import MAX_SEED_BYTES
from penstock.seeds.model import Seed, UnusableSeed
from penstock.seeds.source import raise_unusable
from penstock.seeds.spool import open_at_start
from penstock.seeds.unpacking import open_unpacked
from penstock.seeds.upload_check import check_count, check_upload, to_line

_LONGEST_MESSAGE = 2000


def main(request: dict[str, Any]) -> None:
    """Answer one request: see ``ReadRequest``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that reads our answer
    _limit(request["memory_bytes"], request["cpu_seconds"])
    output = sys.stdout.buffer
    try:
        end = _write_seeds(request, output)
    except BadInputError as error:
        end = _describe(error)
    except MemoryError:
        end = {"error": f"{request['name']} needs too much memory to be read. Make its rows smaller."}
    except BrokenPipeError:  # nobody wants the rest
        os._exit(0)
    output.write(orjson.dumps({"end": end}) + b"\n")
    output.flush()
    os._exit(0)  # nothing is left to clean up, and Arrow's threads need not be waited for


def _write_seeds(request: dict[str, Any], output: BinaryIO) -> dict[str, Any]:
    """Write the seeds, and return what the last line says."""
    name, format_ = request["name"], request["format"]
    stream = _open_input(request)
    if not request["is_upload"]:
        output.write(orjson.dumps(count_parquet_rows(stream, name)) + b"\n")
        output.flush()
        stream.seek(0)
        if request["check_only"]:
            for _ in raise_unusable(read_parquet(stream, name, skip_plain=True)):
                pass
            return {}
        output.writelines(_to_line(entry, name) for entry in read_seeds(format_, stream, name))
        return {}
    if format_ == "parquet":
        check_count(count_parquet_rows(stream, name), name)
        stream.seek(0)
    total = 0
    entries = read_seeds(format_, stream, name, request["separator"])
    for seed, line in check_upload(entries, name, request["unpacked_limit"]):
        total += seed.repetitions
        output.write(line)
    return {"total": total}


def _open_input(request: dict[str, Any]) -> BinaryIO:
    """The file at standard input, which an upload fills to its end."""
    if not request["is_upload"]:
        return open_at_start(sys.stdin.buffer)
    packed = io.BytesIO(sys.stdin.buffer.read())
    if not request["is_compressed"]:
        return packed
    unpacked = open_unpacked(packed, request["name"], request["unpacked_limit"])
    return io.BytesIO(unpacked.read()) if request["format"] == "parquet" else unpacked


def _to_line(entry: Seed | UnusableSeed, name: str) -> bytes:
    if isinstance(entry, UnusableSeed):
        return orjson.dumps(_describe(entry.error)) + b"\n"
    line = to_line(entry)
    if len(line) > 2 * MAX_SEED_BYTES:
        return orjson.dumps({"error": f"{name} has a row of more than {MAX_SEED_BYTES:,} bytes."}) + b"\n"
    return line


def _describe(error: BadInputError) -> dict[str, Any]:
    detail = {key: value for key, value in error.detail.items() if isinstance(value, (str, int))}
    short = {key: value[:200] if isinstance(value, str) else value for key, value in detail.items()}
    is_too_large = isinstance(error, TooLargeError)
    message = error.message[:_LONGEST_MESSAGE].encode("utf-8", "replace").decode()
    return {"error": message, "detail": short, "is_too_large": is_too_large}


def _limit(memory_bytes: int, cpu_seconds: int | None) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    limits = [(resource.RLIMIT_DATA, memory_bytes), (resource.RLIMIT_CORE, 0)]
    if cpu_seconds is not None:
        limits.append((resource.RLIMIT_CPU, cpu_seconds))
    for kind, limit in limits:
        _, hard = resource.getrlimit(kind)
        chosen = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (chosen, hard))
