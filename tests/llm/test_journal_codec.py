"""How the journal writes a call."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.entities import Usage
from penstock.errors import BadInputError
from penstock.llm import Completion, Sample
from penstock.llm.journal_codec import decode_completion, encode_completion, make_key

REQUEST = {
    "model": "gpt-x",
    "messages": [{"role": "system", "content": "é"}, {"role": "user", "content": "hi"}],
    "temperature": 0.3,
}
SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}}
SAMPLE = Sample("00ff", 1, "2", 3, 4, 5, 6)


def test_the_key_of_a_call_is_the_one_that_existing_journals_hold() -> None:
    with_schema = make_key("openai http://host/v1", REQUEST, SCHEMA, SAMPLE)
    without = make_key("openai http://host/v1", REQUEST, None, Sample())

    assert with_schema.hex() == "0ab83f833eb6ba98c46f060a55ecc9b576cb1719"
    assert without.hex() == "0ab12ed136ff4b7eaf3cb26d24c344f350f0781c"


def test_the_order_of_keys_does_not_matter_and_everything_else_does() -> None:
    key = make_key("server", REQUEST, SCHEMA, SAMPLE)

    assert make_key("server", dict(reversed(REQUEST.items())), SCHEMA, SAMPLE) == key
    others = {
        make_key("another", REQUEST, SCHEMA, SAMPLE),
        make_key("server", {**REQUEST, "temperature": 0.4}, SCHEMA, SAMPLE),
        make_key("server", REQUEST, None, SAMPLE),
        make_key("server", REQUEST, SCHEMA, SAMPLE._replace(seed="0")),
        make_key("server", REQUEST, SCHEMA, SAMPLE._replace(repetition=9)),
        make_key("server", REQUEST, SCHEMA, SAMPLE._replace(child="9")),
        make_key("server", REQUEST, SCHEMA, SAMPLE._replace(step=9)),
        make_key("server", REQUEST, SCHEMA, SAMPLE._replace(attempt=9)),
        make_key("server", REQUEST, SCHEMA, SAMPLE._replace(index=9)),
        make_key("server", REQUEST, SCHEMA, SAMPLE._replace(round=9)),
    }
    assert len(others | {key}) == 11


def test_a_request_that_is_not_plain_data_has_no_key() -> None:
    with pytest.raises(BadInputError, match="plain data only"):
        make_key("server", {"messages": [object()]}, None, SAMPLE)


def test_a_completion_is_read_back_as_a_journal_hit_of_now() -> None:
    usage = Usage(7, 3, 2, 1, 0.25, 100.0, 101.0)
    completion = Completion('{"a": 1}', usage, "gpt-x", "length", {"a": 1})

    value = encode_completion(completion, 1.23456)
    decoded = decode_completion(value)

    assert value == b'["{\\"a\\": 1}","gpt-x","length",7,3,2,0.25,1.2346,""]'
    assert replace(decoded, usage=usage) == replace(completion, data=None)
    assert decoded.usage.end_time is not None
    assert decoded.usage.end_time > 101.0
    assert decoded.usage == replace(
        usage, journal_hits=1, start_time=decoded.usage.end_time, end_time=decoded.usage.end_time
    )


@pytest.mark.parametrize(
    "odd", ["9223372036854775808", "1e30", "-5", "null", '"n/a"', "1.5", "true", "1e999"]
)
@pytest.mark.parametrize("place", [3, 4, 5])
def test_numbers_that_no_provider_can_have_meant_are_unknown_and_the_text_counts(
    odd: str, place: int
) -> None:
    parts = ['"text"', '"gpt-x"', '"stop"', "7", "3", "0", "0.25", "1.0", '""']
    parts[place] = odd

    if odd == "1e999":
        with pytest.raises(ValueError, match="number"):
            decode_completion(f"[{','.join(parts)}]".encode())
        return
    decoded = decode_completion(f"[{','.join(parts)}]".encode())

    assert decoded.text == "text"
    assert decoded.usage.unreported_calls == 1
    assert all(type(count) is int and 0 <= count < 2**53 for count in (
        decoded.usage.input_tokens, decoded.usage.output_tokens, decoded.usage.cached_tokens,
    ))  # fmt: skip


@pytest.mark.parametrize("text", ["lone \ud83d", "nul \x00"])
def test_an_answer_that_is_no_plain_text_can_be_kept(text: str) -> None:
    completion = Completion(text, Usage(10**30, 3, 0, 1, 0.25, 100.0, 101.0), "gpt-x", "stop")

    decoded = decode_completion(encode_completion(completion, 1.0))

    assert decoded.text == text
