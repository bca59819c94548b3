"""How similar texts are, and which of several is the medoid."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.gates.similarity import medoid, token_similarity, tokenize

_TOKENS = st.lists(st.sampled_from("abcd"), max_size=12)


def common_by_table(one: list[str], other: list[str]) -> int:
    """The longest common subsequence as textbooks compute it."""
    row = [0] * (len(other) + 1)
    for token in one:
        above = row[:]
        for place, match in enumerate(other, start=1):
            row[place] = above[place - 1] + 1 if token == match else max(above[place], row[place - 1])
    return row[-1]


@given(_TOKENS, _TOKENS)
@settings(deadline=None)  # the first example imports rapidfuzz
def test_similarity_is_the_share_of_tokens_in_common_and_in_order(one: list[str], other: list[str]) -> None:
    similarity = token_similarity(one, other)

    total = len(one) + len(other)
    assert similarity == (2 * common_by_table(one, other) / total if total else 1.0)
    assert similarity == token_similarity(other, one)


def test_tokens_are_words_and_punctuation_marks() -> None:
    assert tokenize("x=f(1)") == ["x", "=", "f", "(", "1", ")"]
    assert tokenize({"b": 1, "a": 2}) == tokenize({"a": 2, "b": 1})


def test_the_medoid_is_the_sample_most_similar_to_all_others() -> None:
    assert medoid(["a b c", "x y z", "a b d"]) == 0
    assert medoid(["x y z", "a b c", "a b d", "a b c d"]) == 3
    assert medoid([{"t": "q"}, {"t": "a b"}, {"t": "a b"}]) == 1


def test_of_equally_similar_samples_the_first_is_taken() -> None:
    assert medoid(["one"]) == 0
    assert medoid(["a", "b"]) == 0
    assert medoid(["a", "b", "c"]) == 0


def test_no_samples_have_no_medoid() -> None:
    with pytest.raises(ValueError, match="no sample"):
        medoid([])


def test_the_longest_texts_are_compared_in_bounded_time() -> None:
    words = [f"word{number % 997}" for number in range(60_000)]
    one, other = tokenize(" ".join(words)), tokenize(" ".join(reversed(words)))

    started = time.process_time()
    similarity = token_similarity(one, other)

    assert len(one) == len(other) == 20_000
    assert 0 < similarity < 1
    assert time.process_time() - started < 5  # about 0.1 s; a table of all pairs takes more than a minute


def test_a_value_that_is_not_text_is_compared_as_json() -> None:
    assert tokenize({"n": 2**70, "a": [None, True]}) == tokenize(
        '{"a":[null,true],"n":1180591620717411303424}'
    )
    assert tokenize(10**5000) == ["(", "int", ")"]
