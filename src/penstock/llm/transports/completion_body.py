"""Reading the body of a chat completion, in the shapes that servers send."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.llm.transports.base import Answer

MALFORMED = (ValueError, LookupError, TypeError, AttributeError)
"""What ``read_answer`` raises for a body of another shape."""
_MOST_TOKENS = 2**53
_BEGINNING = 160
_OTHER_PARTS = {"refusal", "reasoning_content", "reasoning", "tool_calls"}
"""What a message may have in place of ``content``."""


def read_answer(body: Any) -> Answer:
    """The answer in a chat completion: of several choices the one with index 0.

    Raises ValueError, LookupError, TypeError or AttributeError when ``body`` has another shape.
    """
    choice = min(body["choices"], key=_index)
    message = choice["message"]
    if "content" not in message and not message.keys() & _OTHER_PARTS:
        raise KeyError("content")
    text = message.get("content")
    reason = str(choice.get("finish_reason") or "stop")
    thoughts = [_first_text(message, "reasoning_content", "reasoning")]
    if not isinstance(text, str | None):
        parts = list(text)
        thoughts += [thought for part in parts for thought in _thoughts_in(part)]
        text = "".join(_text_of(part) for part in parts)
    if not text and (refusal := message.get("refusal")):
        text, reason = str(refusal), "content_filter"
    return Answer(text or "", reason, *_read_usage(body.get("usage")), "\n\n".join(filter(None, thoughts)))


def describe_body(text: str) -> str:
    """Why an answer with a good status cannot be read, with its beginning; ``text`` has been redacted."""
    start = text.lstrip("\ufeff \t\r\n")
    if not start:
        return "the answer has no body"
    beginning = " ".join(start[: _BEGINNING * 2].split())[:_BEGINNING]
    if start.startswith(("data:", "event:", ":")):
        return f"the server streams though it was not asked to: {beginning}"
    if start[:1] == "<":
        return f"the server sent a web page, so LLM_ENDPOINT may be wrong: {beginning}"
    return f"the answer cannot be read: {beginning}"


def _index(choice: Any) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _first_text(message: Any, *names: str) -> str:
    return next((value for name in names if isinstance(value := message.get(name), str) and value), "")


def _text_of(part: Any) -> str:
    return part if isinstance(part, str) else part.get("text") or ""


def _thoughts_in(part: Any) -> Iterator[str]:
    thought = part.get("thinking") if isinstance(part, dict) else None
    if isinstance(thought, str):
        yield thought
    elif isinstance(thought, list):
        yield "".join(_text_of(inner) for inner in thought)


def _read_usage(usage: Any) -> tuple[int | None, int | None, int | None]:
    """Input, output and cached tokens; None for what is missing or no possible number."""
    if not isinstance(usage, dict):
        return None, None, None
    given = _read_count(usage.get("prompt_tokens"))
    made = _read_count(usage.get("completion_tokens"))
    if given == 0 and not made:  # litellm and some gateways write zeros where the provider says nothing
        return None, None, None
    details = usage.get("prompt_tokens_details")
    cached = _read_count(details.get("cached_tokens")) if isinstance(details, dict) else None
    if cached is not None and given is not None:
        cached = min(cached, given)
    return given, made, cached


def _read_count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_TOKENS:
        return None
    return int(value)
