"""Every transport to a model, so that the same tests hold for all of them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from penstock.settings import Settings

TRANSPORTS: dict[str, dict[str, Any]] = {
    "pool": {"llm_model": "openai/gpt-x", "llm_transport": "pool"},
    "aiohttp": {"llm_model": "openai/gpt-x", "llm_transport": "aiohttp"},
    "litellm": {"llm_model": "deepseek/gpt-x"},  # at an address that does not end in /v1
}


@pytest.fixture(params=TRANSPORTS)
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Settings of a model that is reached by one transport, then by the next."""
    changes = dict(TRANSPORTS[request.param])
    if request.param == "litellm":
        changes["llm_endpoint"] = settings.llm_endpoint.removesuffix("/v1")
    return settings.model_copy(update=changes)


@pytest.fixture
def short_timeouts(settings: Settings) -> Settings:
    """Settings under which a request without an answer times out soon."""
    return settings.model_copy(update={"llm_timeout": 1.0, "llm_deadline": 60.0})


@pytest.fixture
def secret(settings: Settings) -> SecretStr:
    """The API key of the scripted provider."""
    return settings.llm_api_key
