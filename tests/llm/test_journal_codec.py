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
