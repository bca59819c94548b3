"""Seeds: their two forms, their repetitions and their limits."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from penstock.seeds import Seed, SeedSource, open_seeds, split_seed
from support.runs import build
from support.seed_files import write


@pytest.mark.row("A155", "A166", "A167")
def test_a_json_array_gives_seeds_with_their_repetitions(tmp_path: Path) -> None:
    file = write(
        tmp_path / "s.json",
        '[{"repetitions": 3, "metadata": {"a": 1}}, {"metadata": {"a": 2}}, {"metadata": {}}]',
    )

    seeds = open_seeds(file)

    assert list(seeds) == [Seed({"a": 1}, 3), Seed({"a": 2}, 1), Seed({}, 1)]
    assert seeds.total == 5


@pytest.mark.row("A166")
def test_a_single_object_is_one_seed(tmp_path: Path) -> None:
    seeds = open_seeds(write(tmp_path / "s.json", '{"metadata": {"topic": "tea"}}'))

    assert list(seeds) == [Seed({"topic": "tea"}, 1)]


@pytest.mark.row("A167", "A168")
@pytest.mark.parametrize(
    ("written", "counted"),
    [
        ("3", 3),
        ("0", 0),
        ("-2", 0),
        ("true", 1),
        ('"4"', 1),
        ("2.0", 1),
        ("null", 1),
        ("[2]", 1),
        ("1e30", 1),
    ],
)
def test_repetitions_that_are_not_a_whole_number_count_as_one(
    tmp_path: Path, written: str, counted: int
) -> None:
    file = write(tmp_path / "s.json", f'[{{"metadata": {{}}, "repetitions": {written}}}]')

    seeds = open_seeds(file)

    assert [seed.repetitions for seed in seeds] == [counted]
    assert seeds.total == counted


def test_seeds_in_memory_have_the_form_of_a_json_file() -> None:
    seeds = SeedSource.from_data([{"repetitions": 2, "metadata": {"content": "x"}}])

    assert list(seeds) == [Seed({"content": "x"}, 2)]
    assert seeds.total == 2


@pytest.mark.parametrize(
    ("seed", "variables", "repetitions"),
    [
        ({"metadata": {"a": 1}, "repetitions": 3}, {"a": 1}, 3),
        ({"metadata": {"a": 1}}, {"a": 1}, 1),
        ({"metadata": {}, "repetitions": True}, {}, 1),
        ({"metadata": {}, "repetitions": "3"}, {}, 1),
        ({"a": 1, "repetitions": 3}, {"a": 1, "repetitions": 3}, 1),
        ({"metadata": "text"}, {"metadata": "text"}, 1),
        ({"metadata": {"a": 1}, "text": "b"}, {"metadata": {"a": 1}, "text": "b"}, 1),
        ({}, {}, 1),
    ],
)
def test_a_seed_in_memory_has_a_long_and_a_short_form(
    seed: dict[str, Any], variables: dict[str, Any], repetitions: int
) -> None:
    assert split_seed(seed) == (variables, repetitions)


@pytest.mark.row("A170")
async def test_a_repetition_does_not_see_what_another_changed() -> None:
    seeds = SeedSource.from_data([{"metadata": {"notes": ["a"], "deep": {"list": [1]}}, "repetitions": 2}])

    first, second = await build("Mutate").run(
        [{"metadata": seed.metadata, "repetitions": seed.repetitions} for seed in seeds]
    )

    assert first.result == second.result
    assert list(seeds) == [Seed({"notes": ["a"], "deep": {"list": [1]}}, 2)]


@pytest.mark.parametrize(
    ("seeds", "digest"),
    [
        (
            [{"repetitions": 2, "metadata": {"tags": ["a", "ö"], "deep": {"b": None, "a": 1.5}, "n": 1}}],
            "85b469b9d459f964d6753bb71f28a26d0b35772f1657450f39acb52e31276b75",
        ),
        (
            [{"metadata": {"n": 2**70, "a": "x"}}],
            "e671a10da4e473680a3bd9b9dbbfbd2bec427c09ef16ef2f2074e559d4c50fd3",
        ),
        (
            [{"metadata": {"n": "\ud800", "a": "x"}}],
            "963f80db321c14dc265b7b2079b4963739fdbd877bb11ad05c578a8d5e39f818",
        ),
        (
            [{"metadata": {"day": datetime.date(2024, 2, 29), 1: "one"}}],
            "89a1b72f5d8ddb0656d82d14fba435cdbba8c3e236213f74dd733b0cb089c489",
        ),
    ],
)
def test_seeds_in_memory_keep_their_digest_so_that_their_run_is_found_again(
    seeds: list[Any], digest: str
) -> None:
    assert SeedSource.from_data(seeds).digest == digest
