"""Sources of seeds: files, uploads, pipes and standard input."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import BadInputError, PipelineError, TooLargeError
from penstock.seeds import Seed, open_seeds, parse_upload
from support.seed_files import refusal, upload_refusal, write


@pytest.mark.row("A156", "A157", "A158", "A159", "A160", "A161", "A169", "D18")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("seed.txt", "x", "Only .json or .md files are accepted"),
        ("seed", "x", "Only .json or .md files are accepted"),
        ("seed.json", "{bad", "The JSON file is invalid: "),
        ("seed.json", "{bad", "Please check your file syntax."),
        ("seed.json", "5", "The JSON file must contain an object or an array of objects."),
        ("seed.json", '"x"', "The JSON file must contain an object or an array of objects."),
        ("seed.json", "[5]", "Seed 1 must be an object. Please check your file structure."),
        ("seed.json", '[{"repetitions": 1}]', "Seed 1 is missing the required 'metadata' field."),
        ("seed.json", '[{"metadata": {}}, {}]', "Seed 2 is missing the required 'metadata' field."),
        ("seed.json", '[{"metadata": [1]}]', "Seed 1 has a 'metadata' field that is not an object."),
        ("seed.json", "[]", "The seed file holds no seeds."),
        ("seed.json", "", "The JSON file is invalid: "),
        ("seed.json", '{"metadata": {"a": NaN}}', "The JSON file is invalid: "),
        ("seed.md", " \n\t", "Markdown file is empty"),
        ("seed.jsonl", "\n\n", "The seed file holds no seeds."),
        ("seed.csv", "a,b\n", "The seed file holds no seeds."),
    ],
)
def test_an_unusable_upload_is_refused_with_the_reason(name: str, content: str, message: str) -> None:
    assert message in upload_refusal(name, content)


@pytest.mark.row("A163")
def test_an_upload_over_ten_megabytes_is_too_large() -> None:
    with pytest.raises(TooLargeError, match="10 MB"):
        parse_upload("seed.json", b" " * (10 * 1024 * 1024 + 1))


@pytest.mark.row("A163")
def test_an_upload_that_unpacks_to_much_more_is_too_large() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["x" * 5_000_000]}), sink, use_dictionary=False, compression="zstd")
    packed = sink.getvalue()

    with pytest.raises(TooLargeError, match="unpacked"):
        parse_upload("bomb.parquet", packed, max_bytes=len(packed), max_unpacked_bytes=1_000_000)

    assert parse_upload("large.parquet", packed, max_bytes=len(packed)).total == 1


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "parquet", "md"])
def test_seeds_can_be_read_again(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"s.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"a": ["1", "2"]}), file)
    else:
        write(
            file,
            {"json": '{"metadata": {"a": "1"}}', "jsonl": '{"a": "1"}', "csv": "a\n1"}.get(suffix, "# 1"),
        )

    seeds = open_seeds(file)

    assert list(seeds) == list(seeds) != []
    assert seeds.head(1) == [next(iter(seeds)).metadata]
    assert len(seeds.digest) == 64


@pytest.mark.parametrize(
    ("content", "format_"),
    [
        (b'[{"metadata": {"a": 1}}]', "json"),
        (b'{"a": 1}\n{"a": 2}\n', "jsonl"),
        (b'{\n"metadata": {}}', "json"),
        (b"question,answer\nWhy?,Because\n", "csv"),
        (b'\xef\xbb\xbfquestion;answer\r\n"Why; then?";Because\r\n', "csv"),
        (b"sep=;\nquestion;answer\nWhy?;Because\n", "csv"),
    ],
)
def test_the_format_of_standard_input_is_detected_from_its_first_bytes(
    monkeypatch: pytest.MonkeyPatch, content: bytes, format_: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    with open_seeds("-") as seeds:
        assert seeds.format == format_
        assert list(seeds) == list(seeds)


def test_standard_input_of_unknown_format_is_refused_unless_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\n1\n2\n")))
    with pytest.raises(BadInputError, match="say which it is"):
        open_seeds("-")

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\n1\n2\n")))
    with open_seeds("-", format="csv") as seeds:
        assert list(seeds) == [Seed({"a": "1"}), Seed({"a": "2"})]


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"no seed file .*gone\.json"):
        open_seeds(tmp_path / "gone.json")
    with pytest.raises(BadInputError, match="is a folder"):
        open_seeds(tmp_path)


def test_a_file_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "s.jsonl", '{"a": 1}\n' * 100)

    with pytest.raises(TooLargeError):
        open_seeds(file, max_bytes=899)

    assert open_seeds(file, max_bytes=900).total == 100


def test_the_digest_of_a_file_is_the_hash_of_its_bytes(tmp_path: Path) -> None:
    file = write(tmp_path / "s.jsonl", '{"a": 1}\n')

    digest = open_seeds(file).digest

    assert digest == "e8c628edc9968ef0c668f54e0ba2636b35503357eb1aca0ddc828aeace432f67"
    assert digest == parse_upload("other.jsonl", file.read_bytes()).digest


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.txt", "x", "s.txt: only .json, .jsonl, .csv, .parquet or .md files are accepted"),
    ],
)
def test_an_error_in_the_file_is_reported_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    assert message in refusal(tmp_path / name, content)


@settings(deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from(["s.json", "s.jsonl", "s.csv", "s.md", "s.parquet", "s.tsv"]),
)
def test_any_content_gives_seeds_or_a_clear_error(content: bytes, name: str) -> None:
    try:
        seeds = list(parse_upload(name, content))
    except PipelineError as error:
        assert error.message  # noqa: PT017 - either outcome is right
    else:
        assert all(isinstance(seed, Seed) for seed in seeds)


@settings(deadline=None)
@given(st.text(alphabet='{}[]",:;\n\r\t a1\\', max_size=60), st.sampled_from(["s.json", "s.jsonl", "s.csv"]))
def test_any_punctuation_gives_seeds_or_a_clear_error(content: str, name: str) -> None:
    try:
        seeds = list(parse_upload(name, content.encode()))
    except PipelineError as error:
        assert error.message  # noqa: PT017 - either outcome is right
    else:
        assert all(isinstance(seed, Seed) for seed in seeds)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "json", "parquet"])
def test_a_compressed_file_is_read(tmp_path: Path, suffix: str) -> None:
    plain = tmp_path / f"s.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"a": ["1"]}), plain)
    else:
        write(plain, {"jsonl": '{"a": "1"}', "json": '{"metadata": {"a": "1"}}'}.get(suffix, "a\n1\n"))
    packed = write(tmp_path / f"s.{suffix}.gz", gzip.compress(plain.read_bytes()))

    with open_seeds(packed) as seeds:
        assert list(seeds) == list(seeds) == [Seed({"a": "1"})]
        assert seeds.digest == open_seeds(plain).digest


def test_a_compressed_file_that_is_damaged_or_too_large_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"a": "1"}\n' * 10_000)

    assert "cannot be unpacked" in refusal(tmp_path / "s.jsonl.gz", packed[:-20])
    write(tmp_path / "s.jsonl.gz", packed)
    with pytest.raises(TooLargeError):
        open_seeds(tmp_path / "s.jsonl.gz", max_bytes=10_000)


def test_compressed_standard_input_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(b'{"a": 1}\n'))))

    with open_seeds("-") as seeds:
        assert list(seeds) == [Seed({"a": 1})]


def test_a_program_without_standard_input_gets_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)

    with pytest.raises(BadInputError, match="no standard input"):
        open_seeds("-")
