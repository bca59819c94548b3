"""What models answer: any text is read as JSON or is not, and nothing else happens."""

from __future__ import annotations

from hypothesis import strategies as st

from penstock.llm.structured_output import NOTHING, parse_json
from support.fuzzing import fuzzed


@fuzzed(st.text(alphabet="{}[]\"':,\\ \n`a1", max_size=3_000))
def test_any_text_is_read_or_is_not_json(text: str) -> None:
    value = parse_json(text, NOTHING)

    assert value is NOTHING or isinstance(value, dict | list | str | int | float | bool | None)
