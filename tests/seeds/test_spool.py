"""Pipes: copied once, read as often as needed."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from penstock.errors import TooLargeError
from penstock.seeds import open_seeds


def test_a_pipe_can_be_read_twice_at_the_same_time(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    rows = [{"n": number, "pad": "x" * 500} for number in range(5000)]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    writer = threading.Thread(target=pipe.write_text, args=(content,))
    writer.start()

    with open_seeds(pipe) as seeds:
        writer.join()
        first, second = iter(seeds), iter(seeds)
        overlapped = [(next(first).metadata["n"], next(second).metadata["n"]) for _ in rows]

    assert overlapped == [(n, n) for n in range(5000)]
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_pipe_over_the_limit_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=('{"a": 1}\n' * 100,))
    writer.start()

    with pytest.raises(TooLargeError):
        open_seeds(pipe, max_bytes=899)

    writer.join()
