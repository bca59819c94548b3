"""Both roads to a model, so that one set of tests holds for both."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from penstock.settings import Settings

ROADS = {"lean": "openai/gpt-x", "litellm": "deepseek/gpt-x"}


@pytest.fixture(params=ROADS)
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Settings of a model that is reached by one road, then by the other."""
    return settings.model_copy(update={"llm_model": ROADS[request.param]})


@pytest.fixture
def impatient(settings: Settings) -> Settings:
    """Settings under which a hung request is given up soon."""
    return settings.model_copy(update={"llm_timeout": 1.0, "llm_deadline": 60.0})


@pytest.fixture
def secret(settings: Settings) -> SecretStr:
    """The API key of the scripted provider."""
    return settings.llm_api_key
