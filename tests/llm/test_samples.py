"""Equal seeds are samples of their own."""

from __future__ import annotations

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
