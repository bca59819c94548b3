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


@pytest.mark.parametrize(
    ("text", "line", "advice"),
    [
        (
            "a:\n  user_prompt: {{ text }}\n",
            2,
            "put text with {{ in quotes, such as user_prompt: '{{ text }}'",
        ),
        ("a:\n  p: {{ a['b'] }} and more\n", 2, "such as p: '{{ a[''b''] }} and more'"),
        ("a:\n  config: {user_prompt: {{ text }}}\n", 2, "such as user_prompt: '{{ text }}'"),
        ("a:\n  p: {{ a }} {{ b }}\n", 2, "put text with {{ in quotes"),
        ("a:\n  p: Q: {{ text }}\n", 2, "put text with {{ in quotes"),
        ("a:\n  p: {% if x %}y{% endif %}\n", 2, "put text with {% in quotes"),
        ("a:\n\t- b\n", 2, "indent with spaces, not with tabs"),
        ("a:\n  p: Answer this: why\n", 2, "put text with a colon in quotes, such as p: 'Answer this: why'"),
        ("a:\n  p: @text\n", 2, "put text that begins with @ in quotes, such as p: '@text'"),
        ("a:\n  p: %d\n", 2, "put text that begins with % in quotes"),
        ("a:\n  p: *bold* text\n", 2, "put text that begins with * in quotes"),
        ("- `code`\n", 1, "put text that begins with ` in quotes, such as '`code`'"),
        ("a: !important x\n", 1, "put text that begins with ! in quotes"),
        ("a: [INST] text\n", 1, "put text that begins with [ in quotes"),
        ("a: 'it's'\n", 1, "put the whole text in quotes"),
        ('a:\n  p: "open\nb: c\n', 2, "a quote that begins here is not closed"),
        ('a: "C:\\data"\n', 1, "a backslash in double quotes begins an escape"),
        ("a: > text\n", 1, "after > the text begins in the next line"),
        ("a: - b\n", 1, "begin a list in the line below its key"),
        ("name:P\nblocks:\n  - x\n", 2, "write a space after the colon of the line above"),
        ("a:\n  b: 1\n   c: 2\n", 3, "this line is indented in another way"),
    ],
)
def test_a_common_mistake_is_told_with_what_to_write_instead(text: str, line: int, advice: str) -> None:
    with pytest.raises(DefinitionError) as caught:  # fault 28
        load_yaml(text)

    assert caught.value.message.startswith(f"line {line}: this is not valid YAML: ")
    assert advice in caught.value.message


@pytest.mark.parametrize("text", ["a: [1, 2\nb: c\n", "a: 1\n---\nb: 2\n", "a: \0\n"])
def test_another_mistake_is_told_in_the_words_of_yaml(text: str) -> None:
    with pytest.raises(DefinitionError, match="valid YAML: "):
        load_yaml(text)


def test_a_source_map_finds_texts_that_a_comment_cuts() -> None:
    lines = SourceMap(
        "a: Write # for a heading\nb: 'We write # for it'\nc: 0.5 # low\nd: [one two #3\n]\n"
        "e: |\n  We write # so\nf: We write # so\n"
    )

    assert sorted(lines.cut_texts()) == [(("d", 0), "#3"), (("f",), "# so")]
