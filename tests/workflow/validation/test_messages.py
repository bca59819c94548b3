"""The wording of issues."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.workflow.validation.messages import first_line, list_names, quote, sentence, suggest


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("hot", "'hot'"),
        (True, "true"),
        (None, "null"),
        ({"a": [1]}, '{"a":[1]}'),
        (10**30, str(10**30)),
        ("x" * 80, "'" + "x" * 56 + "…"),
    ],
)
def test_a_value_is_quoted_as_a_pipeline_file_has_it(value: Any, text: str) -> None:
    assert quote(value) == text


def test_a_name_that_resembles_a_known_one_is_suggested() -> None:
    assert suggest("Titel", ["title", "body"], "There are") == "Did you mean 'title'?"
    assert suggest("xyz", ["title", "body"], "There are") == "There are title, body."
    assert suggest("xyz", [], "There are") == "There are none."


def test_only_the_first_names_are_listed() -> None:
    assert list_names([f"n{number}" for number in range(15)]).endswith("n11 and 3 more")


def test_a_text_from_elsewhere_becomes_a_sentence() -> None:
    assert sentence("block 'X' needs\n a setting") == "Block 'X' needs a setting."
    assert sentence("max_attempts is 0") == "max_attempts is 0."
    assert first_line("one\n two.") == "one two"
