"""Seed files of every format, damaged in all ways: seeds, or one sentence that says what is wrong."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from penstock.errors import BadInputError
from penstock.seeds import Seed, SeedSource, UploadReader, open_seeds, parse_upload
from penstock.seeds.formats.guessing import guess_format
from support.fuzzing import fuzzed

ROWS: list[dict[str, Any]] = [
    {"text": 'Grüße, "x"; y\n', "n": 12345678901234567890, "list": [1, [2.5, None]], "o": {"k": True}},
    {"text": "", "n": -1, "list": [], "o": {"k": None}},
] * 3
NAMES = ("s.json", "s.jsonl", "s.csv", "s.tsv", "s.md", "s.jsonl.gz", "s.csv.gz")


def to_parquet(**options: Any) -> bytes:
    """Some columns of many types as a Parquet file."""
    columns = {
        "text": pa.array(["a", None, "ß"] * 40),
        "words": pa.array(["a", "b", "a"] * 40).dictionary_encode(),
        "n": pa.array([1, None, -(2**62)] * 40),
        "x": pa.array([0.5, None, float("nan")] * 40),
        "at": pa.array([1, None, 2**40] * 40, pa.timestamp("ns", "UTC")),
        "lists": pa.array([[1, None], None, []] * 40),
        "maps": pa.array([[("a", 1)], [], None] * 40, pa.map_(pa.string(), pa.int64())),
        "structs": pa.array([{"a": b"b"}, None, {"a": None}] * 40),
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
TABLE = b'text;n;note\n"a; b";1;\n"c\nd";2;"x ""y"""\n;;\n'
TEXTS = (
    json.dumps([{"metadata": row, "repetitions": 2} for row in ROWS]).encode(),
    LINES,
    TABLE,
    TABLE.replace(b";", b"\t").replace(b"\n", b"\r"),
    b"sep=;\r\n" + TABLE,
    b"---\na: 1\n---\n# One\n\ntext\n",
    LINES.decode().encode("utf-16"),
    gzip.compress(LINES),
    gzip.compress(TABLE),
)
PARQUETS = (to_parquet(), to_parquet(compression="gzip", use_dictionary=False), to_parquet(row_group_size=7))

_pieces = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"\r", b"\n", b'"', b"{", b"[", b",", b";"]),
    st.sampled_from([b"9" * 5000, b"[" * 2000, b'{"metadata":', b"1e999", b"NaN", b'"\\ud800"']),
)


@st.composite
def mutated(draw: Callable[..., Any], originals: tuple[bytes, ...]) -> bytes:
    """One of the files, with pieces replaced, inserted, repeated or cut off."""
    content: bytes = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 40)))
        content = content[:start] + draw(_pieces) * draw(st.integers(0, 3)) + content[end:]
    return content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 5)) == 0 else content


def use(make: Callable[[], SeedSource]) -> None:
    """Read all seeds: each is usable, or one sentence says why none is."""
    try:
        source = make()
        with source:
            seeds = list(source)
    except BadInputError as error:
        assert 0 < len(error.message) < 3_000  # noqa: PT017 - either outcome is right
    else:
        assert seeds
        assert all(isinstance(seed, Seed) for seed in seeds)


@fuzzed(mutated(TEXTS), st.sampled_from(NAMES))
def test_a_damaged_text_file_gives_seeds_or_a_sentence(content: bytes, name: str) -> None:
    use(lambda: parse_upload(name, content))


@fuzzed(mutated(TEXTS), st.sampled_from(NAMES))
def test_a_local_file_is_read_as_an_upload_is(content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(content)

        use(lambda: open_seeds(file))


@fuzzed(mutated(PARQUETS))
def test_a_damaged_parquet_file_ends_at_most_the_process_that_reads_it(content: bytes) -> None:
    use(lambda: asyncio.run(UploadReader().read("s.parquet", content)))


@fuzzed(mutated(TEXTS))
def test_a_format_is_recognised_or_asked_for(content: bytes) -> None:
    try:
        guess_format(content)
    except BadInputError as error:
        assert error.message  # noqa: PT017 - either outcome is right
