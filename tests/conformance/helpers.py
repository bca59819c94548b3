"""Steps, seeds and checks that the tests of several sections share."""

from __future__ import annotations

from typing import Any

import httpx

ECHO: dict[str, Any] = {"type": "TextGenerator", "config": {"user_prompt": "hi {{ topic }}"}}
CHECK: dict[str, Any] = {"type": "ValidatorBlock", "config": {"min_length": 1}}
MULTIPLY: dict[str, Any] = {"type": "MarkdownMultiplierBlock"}


def slow(seconds: float) -> dict[str, Any]:
    """A step that waits."""
    return {"type": "SlowBlock", "config": {"seconds": seconds}}


def fail_on(word: str) -> dict[str, Any]:
    """A step that fails where the state has the word."""
    return {"type": "BoomBlock", "config": {"word": word}}


def topics(count: int, **extra: Any) -> list[dict[str, Any]]:
    """Seeds with the topics t0, t1, …"""
    return [{"metadata": {"topic": f"t{number}", **extra}} for number in range(count)]


def is_error(answer: httpx.Response, status: int, message: str | None = None) -> bool:
    """Whether an answer is an error of the contract's form (D1), with this status and message."""
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert body.keys() == {"error", "detail"}
    assert message is None or body["error"] == message
    return True
