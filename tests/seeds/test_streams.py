"""Streams that never end, devices, and files that change while they are read."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.errors import BadInputError
from penstock.seeds import Seed, open_seeds
from support.seed_files import refusal, write


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Path]:
    """A pipe with rows of JSON that never ends."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = (
        "import itertools, sys\n"
        "with open(sys.argv[1], 'w') as pipe:\n"
        "    for n in itertools.count(): print('{\"n\": %d}' % n, file=pipe)"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, pipe], stderr=subprocess.DEVNULL)
    yield pipe
    writer.kill()
    writer.wait()


def test_a_stream_that_never_ends_is_read_as_far_as_records_are_wanted(endless: Path) -> None:
    with open_seeds(endless, limit=10) as seeds:
        assert list(seeds) == list(seeds) == [Seed({"n": number}) for number in range(10)]
        assert seeds.total == 10
        assert "first 10 seeds" in seeds.notes[0]
        first = seeds.digest

    assert len(first) == 64


def test_a_stream_that_ends_is_the_same_seeds_with_and_without_a_limit(tmp_path: Path) -> None:
    def read(limit: int | None) -> tuple[str, int | None]:
        out, into = os.pipe()
        os.write(into, b'{"n": 1}\n{"n": 2}\n{"n": 3}\n')
        os.close(into)
        with open_seeds(Path(f"/dev/fd/{out}"), limit=limit) as seeds:
            os.close(out)
            return seeds.digest, seeds.total

    assert read(2) == read(None)


def test_what_is_no_seed_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.jsonl"))

        for name, words in (
            ("loop.jsonl", "symbolic links"),
            ("s.jsonl", "cannot be read"),
            ("/dev/zero", "binary data"),
            ("/dev/urandom", "line 1"),
            ("/dev/null", "holds no seeds"),
        ):
            with pytest.raises(BadInputError, match=words):
                open_seeds(tmp_path / name)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused_in_a_sentence(tmp_path: Path) -> None:
    file = write(tmp_path / "s.jsonl", '{"a": 1}')
    file.chmod(0)

    with pytest.raises(BadInputError, match="Permission denied"):
        open_seeds(file)


@pytest.mark.parametrize("change", ["truncated", "replaced", "appended to", "deleted"])
def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path, change: str) -> None:
    file = write(tmp_path / "s.jsonl", ('{"a": "%s"}\n' % ("x" * 1000)) * 4000)
    seeds = open_seeds(file)
    reading = iter(seeds)
    next(reading)

    if change == "truncated":
        os.truncate(file, 1000)
    elif change == "replaced":
        write(tmp_path / "new", '{"b": 1}\n').replace(file)
    elif change == "appended to":
        file.write_bytes(file.read_bytes() + b'{"a": 2}\n')
    else:
        file.unlink()

    if change == "deleted":
        assert sum(1 for _ in reading) == 3_999
        with pytest.raises(BadInputError, match="cannot be read"):
            list(seeds)
    else:
        with pytest.raises(BadInputError, match=r"was changed while it was read|not valid JSON"):
            list(reading)


def test_a_file_that_is_only_touched_is_no_other(tmp_path: Path) -> None:
    file = write(tmp_path / "s.jsonl", '{"a": 1}\n')
    seeds = open_seeds(file)
    os.utime(file, (0, 0))

    assert list(seeds) == [Seed({"a": 1})]


@pytest.mark.parametrize("name", ["s.json", "s.jsonl", "s.csv", "s.parquet", "s.md"])
@pytest.mark.parametrize("content", ["{}", "a,b\n1,2\n"])
def test_other_encodings_and_empty_files_are_named(tmp_path: Path, name: str, content: str) -> None:
    assert refusal(tmp_path / name, b"")
    if name != "s.parquet":
        assert "not UTF-8 text but UTF-16" in refusal(tmp_path / name, content.encode("utf-16"))
        assert "binary data" in refusal(tmp_path / name, content.encode("utf-16-le"))
