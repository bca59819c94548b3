"""The files that a run writes: where they are, whose they are, and that one run at a time writes them.

A run changes only what a run has written there. A file is known by the digest of its content after a run has
ended, and by that of its beginning while a run appends to it. Both are kept with the job, before the file
gets its name.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import IO, NamedTuple

import orjson

from penstock.errors import BadInputError, ConflictError, StorageError

_RETRY_SECONDS = 0.2
_LINE_KEYS = frozenset({"id", "output", "metadata", "accumulated_state", "attempts"})
_LONGEST_LINE = 1 << 26
_WHOLE = "blake2b:"
_BEGINNING = "begins:"


class OutputFiles(NamedTuple):
    """The files of a run, as they were named."""

    accepted: Path
    failed: Path | None
    """None beside a device such as /dev/null."""

    @property
    def all(self) -> list[Path]:
        """Those that there are."""
        return [self.accepted] if self.failed is None else [self.accepted, self.failed]


def find_output_files(output: Path) -> OutputFiles:
    """The files of a run into ``output``; raises BadInputError when these are no files."""
    if str(output) == "-":
        raise BadInputError(
            "A run keeps its records in a file, to be able to continue; name one, as in -o records.jsonl."
        )
    if _is_character_device(output):
        return OutputFiles(output, None)
    files = OutputFiles(output, output.with_name(f"{output.stem}.failed.jsonl"))
    for path in files.all:
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise BadInputError(f"{path} is {kind}; choose another file with -o.", {"file": str(path)})
    return files


def refuse_inputs(files: OutputFiles, inputs: Iterable[Path | int]) -> None:
    """Raise BadInputError when a run would replace what it reads, by whatever path."""
    for given in inputs:
        try:
            status = os.stat(given)  # noqa: PTH116 - a descriptor has no Path
        except (OSError, ValueError):
            continue
        for path in files.all:
            if files.failed is not None and path.exists() and os.path.samestat(path.stat(), status):
                place = "" if path is files.accepted else ", and its failed records would go there"
                raise BadInputError(
                    f"{path} is read by this run{place}; choose another file for its records with -o.",
                    {"file": str(path)},
                )


def list_existing(files: OutputFiles) -> list[Path]:
    """The files that hold something."""
    return [path for path in files.all if path.is_file() and path.stat().st_size > 0]


class Content(NamedTuple):
    """What a file holds."""

    size: int
    digest: blake2b
    """Of these bytes; more can be added to a copy."""


def describe_digest(digest: blake2b) -> str:
    """What identifies a file that is complete."""
    return f"{_WHOLE}{digest.hexdigest()}"


def describe_beginning(size: int, digest: blake2b) -> str:
    """What identifies a file to which lines are appended: its first ``size`` bytes, as they were once."""
    return f"{_BEGINNING}{size}:{digest.hexdigest()}"


def read_known_content(path: Path, descriptions: Collection[str]) -> tuple[Content, set[str]]:
    """The file's content, and which of ``descriptions`` it has; raises OSError.

    Where it is known by its beginning alone, the content is that longest known beginning.
    """
    digest = blake2b(digest_size=20)
    known: set[str] = set()
    content = Content(0, digest.copy())
    position = 0
    sizes = sorted({size for text in descriptions if (size := _get_beginning(text)) is not None})
    with path.open("rb") as file:
        for size in [*sizes, sys.maxsize]:
            while position < size and (chunk := file.read(min(1 << 20, size - position))):
                digest.update(chunk)
                position += len(chunk)
            if position == size and (text := describe_beginning(size, digest)) in descriptions:
                known.add(text)
                content = Content(size, digest.copy())
    if (text := describe_digest(digest)) in descriptions:
        return Content(position, digest), {text}
    return content, known


def has_inode_of(path: Path, descriptions: Collection[str]) -> bool:
    """Whether an earlier version of penstock was writing this file when it was killed."""
    status = path.stat()
    return f"inode:{status.st_dev}:{status.st_ino}" in descriptions and _begins_with_a_record(path)


def _get_beginning(description: str) -> int | None:
    if not description.startswith(_BEGINNING):
        return None
    return int(description.removeprefix(_BEGINNING).partition(":")[0])


def hidden_name(name: str, purpose: str) -> str:
    """The name of a hidden file that belongs to the file ``name``, and is not too long."""
    digest = blake2b(os.fsencode(name), digest_size=4).hexdigest()
    return f".{name[:40]}.{digest}.penstock-{purpose}"


@asynccontextmanager
async def lock_files(files: OutputFiles | None) -> AsyncIterator[None]:
    """Hold the files; raises ConflictError when another run writes one of them, in whichever database."""
    async with AsyncExitStack() as stack:
        if files is not None and files.failed is not None:
            for path in files.all:
                await stack.enter_async_context(_lock(path))
        yield


@asynccontextmanager
async def _lock(path: Path) -> AsyncIterator[None]:
    real = Path(os.path.realpath(path))
    lock = real.with_name(hidden_name(real.name, "lock"))
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        file = await _acquire(lock, path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}.", {"file": str(path)}
        ) from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is held, so that nobody else's is removed
        file.close()


async def _acquire(lock: Path, path: Path) -> IO[bytes]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _RETRY_SECONDS
    while True:
        file = lock.open("ab")
        if _try_lock(file) and _is_still_named(file, lock):
            return file
        file.close()
        if loop.time() > deadline:
            raise ConflictError(
                f"A run that writes {path} is already running in another process; wait for its end, "
                "or choose another file with -o.",
                {"file": str(path)},
            )
        await asyncio.sleep(0.01)


def _try_lock(file: IO[bytes]) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: a file that is open cannot be removed, and is found again below
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still_named(file: IO[bytes], lock: Path) -> bool:
    """Whether no other run has removed the lock between its opening and its locking."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), lock.stat())
    except FileNotFoundError:
        return False


def _is_character_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _begins_with_a_record(path: Path) -> bool:
    with path.open("rb") as file:
        line = file.readline(_LONGEST_LINE)
    try:
        record = orjson.loads(line)
    except ValueError:
        return not line.endswith(b"\n")  # a killed run's only line, or one with values that orjson refuses
    return isinstance(record, dict) and record.keys() >= _LINE_KEYS
