"""Models that cannot be asked are found before a run."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from penstock.settings import Settings
from penstock.workflow import validate

SETTINGS = Settings(llm_model="openai/gpt-4o-mini", llm_api_key=SecretStr("sk-shared-0123456789"))


def find(model: str | None, settings: Settings = SETTINGS, block: str = "TextGenerator") -> list[str]:
    config: dict[str, Any] = {"user_prompt": "hi", "json_schema": {"type": "object"}, "model": model}
    if block == "TextGenerator":
        del config["json_schema"]
    definition = {"name": "P", "blocks": [{"type": block, "config": config}]}
    return [f"{issue.key}: {issue.message}" for issue in validate(definition, settings=settings)]


@pytest.mark.parametrize("block", ["TextGenerator", "StructuredGenerator"])
def test_a_step_whose_key_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch, block: str) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)

    found = find("deepseek/deepseek-chat", block=block)

    assert len(found) == 1
    assert found[0].startswith(
        "config.model: The provider deepseek needs an API key of its own: set DEEPSEEK_API_KEY"
    )
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-of-its-own")
    assert find("deepseek/deepseek-chat", block=block) == []


def test_a_step_without_a_model_is_refused_when_the_key_of_the_configured_one_is_missing() -> None:
    assert find(None) == []
    assert "set LLM_API_KEY or OPENAI_API_KEY" in find(None, Settings(llm_model="openai/gpt-4o-mini"))[0]


@pytest.mark.parametrize(
    "model", ["oobabooga/http://127.0.0.1:8934/steal", "http://evil.example/v1", "huggingface/localhost:80"]
)
def test_a_model_that_is_an_address_is_refused(model: str) -> None:
    assert "is written like an address" in find(model)[0]


def test_a_model_of_no_known_server_is_refused() -> None:
    assert "No server is known for the model 'nobody/knows'" in find("nobody/knows")[0]
