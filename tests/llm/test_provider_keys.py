"""Which key goes to which provider."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from penstock.errors import LLMSetupError
from penstock.llm import Client
from penstock.llm.provider_keys import key_names
from penstock.llm.providers import find_model_problem, resolve
from penstock.settings import Settings
from penstock.testing import ModelServer
from support.messages import say

SHARED = SecretStr("sk-shared-0123456789")


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in ("deepseek", "anthropic", "openai", "gemini", "groq", "azure", "mistral", "ollama"):
        for name in key_names(provider):
            monkeypatch.delenv(name, raising=False)


def key_of(model: str, settings: Settings) -> str:
    return resolve(model, settings).api_key.get_secret_value()


@pytest.mark.parametrize(
    ("configured", "step"),
    [
        ("openai/gpt-4o-mini", "deepseek/deepseek-chat"),
        ("deepseek/deepseek-chat", "openai/gpt-4o-mini"),
        ("anthropic/claude-x", "groq/llama"),
        ("azure/gpt-4o", "azure_ai/x"),
        ("gemini/gemini-2.0-flash", "vertex_ai/gemini-2.0-flash"),
        ("openai/gpt-4o-mini", "bedrock/anthropic.claude-v2:1"),
        ("openai/gpt-4o-mini", "ollama/llama3"),
        ("openai/gpt-4o-mini", "llama3"),
        ("openai/gpt-4o-mini", "lm_studio/x"),
        ("openai/gpt-4o-mini", "oobabooga/x"),
        ("embedded/smollm2-135m", "mistral/x"),
    ],
)
def test_the_shared_key_goes_to_no_other_provider_than_that_of_the_configured_model(
    configured: str, step: str
) -> None:
    settings = Settings(llm_model=configured, llm_api_key=SHARED)

    assert key_of(step, settings) in {"", "not-needed"}


@pytest.mark.parametrize(
    "step",
    ["gpt-x", "openai/gpt-x", "deepseek/deepseek-chat", "hosted_vllm/x", "ollama/llama3", "lm_studio/x"],
)
def test_with_an_endpoint_the_shared_key_goes_there_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-of-deepseek")
    settings = Settings(
        llm_endpoint="http://host:8000/v1",
        llm_model="gpt-x",
        llm_api_key=SHARED,
        openai_api_key=SecretStr("sk-of-openai"),
    )

    route = resolve(step, settings)

    assert str(route.url).startswith("http://host:8000/")
    assert route.api_key == SHARED


def test_an_endpoint_without_a_key_gets_none_of_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-of-deepseek")
    settings = Settings(
        llm_endpoint="http://host:8000/v1", llm_model="gpt-x", openai_api_key=SecretStr("sk-of-openai")
    )

    assert [key_of(step, settings) for step in ("openai/gpt-x", "deepseek/deepseek-chat")] == ["", ""]


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("deepseek/deepseek-chat", "DEEPSEEK_API_KEY"),
        ("together_ai/x", "TOGETHERAI_API_KEY"),
        ("nebius/x", "NEBIUS_API_KEY"),
        ("replicate/meta/x", "REPLICATE_API_TOKEN"),
        ("azure/gpt-4o", "AZURE_API_KEY"),
        ("cohere_chat/command-r", "CO_API_KEY"),
    ],
)
def test_other_providers_use_keys_of_their_own_names(
    monkeypatch: pytest.MonkeyPatch, model: str, variable: str
) -> None:
    monkeypatch.setenv(variable, "sk-of-its-own")
    settings = Settings(llm_model="openai/gpt-4o-mini", llm_api_key=SHARED)

    assert key_of(model, settings) == "sk-of-its-own"
    assert find_model_problem(model, settings) is None


def test_keys_of_providers_are_read_from_the_file_as_the_settings_are() -> None:
    Path(".env").write_text("DEEPSEEK_API_KEY=sk-of-the-file\n")

    assert key_of("deepseek/deepseek-chat", Settings()) == "sk-of-the-file"


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            "deepseek/x",
            "The provider deepseek needs an API key of its own: set DEEPSEEK_API_KEY (LLM_API_KEY is",
        ),
        ("github_copilot/gpt-4o", "The provider github_copilot needs a sign-in"),
    ],
)
def test_a_missing_key_is_said_with_the_name_of_its_variable(model: str, sentence: str) -> None:
    settings = Settings(llm_model="openai/gpt-4o-mini", llm_api_key=SHARED)

    assert str(find_model_problem(model, settings)).startswith(sentence)


@pytest.mark.parametrize(
    ("model", "variable"),
    [("azure/gpt-4o", "AZURE_CLIENT_SECRET"), ("anthropic/claude-x", "ANTHROPIC_AUTH_TOKEN")],
)
def test_other_credentials_of_a_provider_serve_in_place_of_a_key(
    monkeypatch: pytest.MonkeyPatch, model: str, variable: str
) -> None:
    before = find_model_problem(model, Settings())
    monkeypatch.setenv(variable, "made-up")

    assert before is not None
    assert find_model_problem(model, Settings()) is None


@pytest.mark.parametrize(
    "model",
    ["bedrock/x", "vertex_ai/x", "sagemaker/x", "watsonx/x", "ollama/x", "xinference/x", "lm_studio/x"],
)
def test_providers_without_a_single_key_need_none(model: str) -> None:
    assert find_model_problem(model, Settings()) is None


def test_a_server_of_ones_own_in_place_of_openai_needs_no_key() -> None:
    assert find_model_problem("openai/x", Settings()) is not None
    assert find_model_problem("openai/x", Settings(openai_base_url="http://host:8000/v1")) is None


async def test_nothing_is_sent_to_a_provider_whose_key_is_missing(
    model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_BASE", model.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    settings = Settings(llm_model="openai/gpt-4o-mini", llm_api_key=SHARED)

    async with Client(settings) as client:
        with pytest.raises(LLMSetupError, match="set DEEPSEEK_API_KEY"):
            await client.complete(say("a"), model="deepseek/deepseek-chat")

    assert model.requests == []


async def test_a_provider_gets_its_own_key_at_the_address_that_the_environment_names(
    model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_BASE", model.url)
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-of-deepseek")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    settings = Settings(llm_model="openai/gpt-4o-mini", llm_api_key=SHARED)

    async with Client(settings) as client:
        await client.complete(say("a"), model="deepseek/deepseek-chat")

    assert [request["headers"]["authorization"] for request in model.requests] == ["Bearer sk-of-deepseek"]


async def test_no_other_key_is_taken_when_litellm_would_ask_another_provider_at_the_address(
    model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_API_BASE", model.url)
    monkeypatch.setenv("AZURE_AD_TOKEN", "made-up")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")

    async with Client(Settings(llm_model="azure/mistral-large-latest")) as client:
        with pytest.raises(LLMSetupError, match="litellm asks openai"):
            await client.complete(say("a"))

    assert model.requests == []


async def test_a_key_does_not_follow_when_litellm_would_ask_another_provider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AZURE_API_BASE", raising=False)
    name = "azure/mistral-large-latest"  # litellm asks OpenAI for it
    settings = Settings(llm_model=name, llm_api_key=SHARED)

    async with Client(settings) as client:
        with pytest.raises(LLMSetupError, match="another key than that of azure"):
            await client.complete(say("a"))


_VARIABLES_THAT_LITELLM_READS = """
import json, os, re
for name in ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "LITELLM_OFFLINE_MODE"):
    os.environ[name] = "True"
import litellm
litellm.suppress_debug_info = True
asked, environment = set(), os.environ.__class__
environment.get = lambda self, name, default=None: (asked.add(name), dict.get(dict(self), name, default))[1]
os.getenv = os.environ.get
found = {}
for provider in map(lambda one: str(getattr(one, "value", one)), litellm.provider_list):
    if provider in {"github_copilot", "chatgpt", "microsoft_365_copilot"}:
        continue  # would ask somebody to sign in
    asked.clear()
    try:
        litellm.get_llm_provider(model=f"{provider}/some-model")
        missing = litellm.validate_environment(model=f"{provider}/some-model")["missing_keys"]
    except Exception:
        continue
    names = (one for one in {*asked, *missing} if "LITELLM" not in one)
    found[provider] = sorted(one for one in names if re.search("(API_KEY|_TOKEN)$", one))
print(json.dumps(found))
"""


def test_each_key_has_the_name_that_litellm_gives_it() -> None:
    """Finds providers that a new litellm reads from other variables."""
    run = subprocess.run(
        [sys.executable, "-c", _VARIABLES_THAT_LITELLM_READS], capture_output=True, text=True, check=True
    )
    read: dict[str, list[str]] = json.loads(run.stdout.splitlines()[-1])

    wrong = {
        provider: names
        for provider, names in read.items()
        if names and not set(names) & set(key_names(provider)) and not provider.startswith("bedrock")
    }

    assert len(read) > 100
    assert wrong == {}
