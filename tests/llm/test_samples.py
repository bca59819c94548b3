"""Equal seeds are samples of their own."""

from __future__ import annotations

import tracemalloc

from penstock import llm


def test_equal_variables_are_the_further_samples_of_one_seed() -> None:
    numbers = llm.SampleNumbers()

    taken = [numbers.take({"text": text}, 2) for text in ("cats", "dogs", "cats")]

    assert [sample.repetition for sample in taken] == [0, 0, 2]
    assert taken[0].seed == taken[2].seed == llm.seed_digest({"text": "cats"})


def test_a_file_in_another_order_asks_for_the_same_samples() -> None:
    words = ["cats", "dogs", "cats", "cats", "birds"]
    numbers, other = llm.SampleNumbers(), llm.SampleNumbers()

    assert {numbers.take({"text": word}) for word in words} == {
        other.take({"text": word}) for word in sorted(words)
    }


def test_every_seed_of_many_keeps_its_own_count() -> None:
    numbers = llm.SampleNumbers()

    first = [numbers.take({"n": n}).repetition for n in range(20_000)]
    second = [numbers.take({"n": n}, 1 + n % 3).repetition for n in range(20_000)]
    third = [numbers.take({"n": n}).repetition for n in range(20_000)]

    assert set(first) == {0}
    assert set(second) == {1}
    assert third == [2 + n % 3 for n in range(20_000)]


def test_a_seed_without_repetitions_takes_no_sample() -> None:
    numbers = llm.SampleNumbers()

    assert [numbers.take({"n": 1}, count).repetition for count in (0, 2, 1)] == [0, 0, 2]


def test_a_million_seeds_take_some_twenty_bytes_each() -> None:
    numbers = llm.SampleNumbers()
    tracemalloc.start()

    for n in range(50_000):
        numbers.take({"n": n})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 30 * 50_000
