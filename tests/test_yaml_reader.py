"""Reading YAML: version 1.2, plain data, within limits, with line numbers."""

from __future__ import annotations

import pytest

from penstock.errors import DefinitionError
from penstock.yaml_reader import MAX_BYTES, SourceMap, load_yaml

TEXT = """name: x
blocks:
  - type: A
    config: {b: 1}
  - type: B
    type: C
"""


def test_words_that_yaml_1_1_reads_as_values_stay_text() -> None:
    assert load_yaml("enum: [yes, no, on, off]\nday: 2024-01-01\n") == {
        "enum": ["yes", "no", "on", "off"],
        "day": "2024-01-01",
    }


def test_an_empty_text_is_none() -> None:
    assert load_yaml("# only a comment\n") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [", "my.yaml line 3: this is not valid YAML: "),
        ("a: !!binary aGk=", "my.yaml line 1: this is not valid YAML: "),
        ("a: &a [*a]", "my.yaml has an anchor that contains itself."),
        ("[" * 61 + "]" * 61, "my.yaml is nested more than 60 levels deep."),
        ("#" * (MAX_BYTES + 1), "my.yaml is larger than 2,048 KB."),
    ],
    ids=["syntax", "type", "loop", "depth", "size"],
)
def test_an_error_names_the_text_and_the_line(text: str, message: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        load_yaml(text + "\n", "my.yaml")

    assert raised.value.message.startswith(message)


def test_an_error_of_a_text_without_a_name_begins_with_the_line() -> None:
    with pytest.raises(DefinitionError, match=r"^line 3: this is not valid YAML"):
        load_yaml("a: 1\nb: [\n")


def test_aliases_are_limited_where_the_caller_says_so() -> None:
    text = "a: &a [1]\nb: [*a, *a, *a]\n"

    assert load_yaml(text, max_aliases=3)["b"] == [[1], [1], [1]]
    with pytest.raises(DefinitionError, match="it has more than 2 aliases"):
        load_yaml(text, max_aliases=2)


def test_a_source_map_knows_the_line_of_each_value() -> None:
    lines = SourceMap(TEXT)

    assert lines.line(("blocks", 0, "config", "b")) == 4
    assert lines.line(("blocks", 1)) == 5
    assert lines.line(("blocks", 0, "config", "missing")) == 4
    assert SourceMap("a: [").line(("a",)) is None


def test_a_source_map_finds_keys_that_stand_twice() -> None:
    (duplicate,) = SourceMap(TEXT).duplicates()

    assert (duplicate.path, duplicate.first_line, duplicate.line) == (("blocks", 1, "type"), 5, 6)
