"""Training formats: OpenAI's, ShareGPT's and Alpaca's examples."""

from __future__ import annotations

from support.exports import export_lines, record


async def test_chat_formats_take_their_fields_from_the_state() -> None:
    full = record(1, system="Be kind.", user="Hi?", assistant="Hello")
    bare = record(2, system="", user="Hi?", assistant="Hello")

    assert await export_lines("openai", full, bare) == [
        {
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Hi?"},
                {"role": "assistant", "content": "Hello"},
            ]
        },
        {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello"}]},
    ]
    assert await export_lines("sharegpt", bare) == [
        {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello"}]}
    ]
    assert await export_lines("alpaca", full) == [{"instruction": "Hi?", "input": "", "output": "Hello"}]


async def test_a_value_that_is_not_text_becomes_json_in_a_message() -> None:
    (made,) = await export_lines("openai", record(1, user="q", assistant={"a": [1, "ö"]}))

    assert made["messages"][1]["content"] == '{"a":[1,"ö"]}'
