"""Which server answers for a model name."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import SecretStr

from penstock.errors import ConfigurationError
from penstock.llm.providers import resolve
from penstock.settings import EMBEDDED_MODEL, Settings

OLLAMA = "http://localhost:11434"


@pytest.mark.row("A219", "A220")
def test_without_settings_the_embedded_model_answers() -> None:
    settings = Settings()

    route = resolve(None, settings)

    assert settings.llm_endpoint == "http://localhost:11434/api/generate"
    assert settings.llm_model == "llama3"
    assert (route.provider, route.litellm_model) == ("embedded", EMBEDDED_MODEL)


@pytest.mark.row("A82")
@pytest.mark.parametrize("path", ["/api/generate", "/v1/chat/completions", "/v1", "", "/"])
def test_a_plain_name_at_the_port_of_ollama_is_a_model_of_ollama(path: str) -> None:
    route = resolve("llama3", Settings(llm_endpoint=OLLAMA + path))

    assert (route.litellm_model, route.api_base, route.model) == ("ollama/llama3", OLLAMA, "llama3")
    assert route.url == f"{OLLAMA}/v1/chat/completions"
    assert not route.uses_litellm


@pytest.mark.row("A75")
def test_no_model_means_the_configured_one() -> None:
    assert resolve(None, Settings(llm_model="qwen3")).litellm_model == "ollama/qwen3"


@pytest.mark.row("A83")
@pytest.mark.parametrize(
    "endpoint",
    [
        "http://host:8000",
        "http://host:8000/v1",
        "http://host:8000/v1/",
        "http://host:8000/v1/chat/completions",
    ],
)
@pytest.mark.parametrize("model", ["gpt-x", "openai/gpt-x", "hosted_vllm/gpt-x"])
def test_otherwise_the_endpoint_is_the_base_and_gets_the_key(endpoint: str, model: str) -> None:
    route = resolve(model, Settings(llm_endpoint=endpoint, llm_api_key=SecretStr("sk-mine")))

    assert (route.model, route.api_base) == ("gpt-x", "http://host:8000/v1")
    assert route.url == "http://host:8000/v1/chat/completions"
    assert route.api_key.get_secret_value() == "sk-mine"
    assert "sk-mine" not in repr(route)


def test_a_name_with_a_slash_that_is_not_a_provider_is_sent_whole() -> None:
    route = resolve("meta-llama/Llama-3.1-8B", Settings(llm_endpoint="http://host:8000/v1"))

    assert (route.model, route.uses_litellm) == ("meta-llama/Llama-3.1-8B", False)


@pytest.mark.parametrize("model", ["anthropic/claude-x", "deepseek/chat", "mistral/large"])
@pytest.mark.parametrize(
    "endpoint",
    [
        "http://host:8000/v1",
        "http://host:8000/v1/",
        "http://host:8000/api/v1?tenant=a",
        "http://host:8000/v1/completions",
        "http://host:8000/v1/chat/completions/",
        "http://host:8000/v1beta/openai",
    ],
)
def test_a_gateway_in_openais_protocol_gets_every_name_whole(endpoint: str, model: str) -> None:
    route = resolve(model, Settings(llm_endpoint=endpoint))

    assert (route.model, route.other_model, route.uses_litellm) == (model, model.partition("/")[2], False)


def test_an_address_of_no_known_protocol_is_that_of_the_provider() -> None:
    route = resolve(None, Settings(llm_endpoint="http://host:8000", llm_model="anthropic/claude-x"))

    assert (route.uses_litellm, route.api_base) == (True, "http://host:8000")


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://h/v1", "http://h/v1/chat/completions"),
        ("http://h/v1//", "http://h/v1/chat/completions"),
        (" http://h/v1/completions/ ", "http://h/v1/chat/completions"),
        ("http://h/v1/responses?a=1", "http://h/v1/chat/completions?a=1"),
        ("http://h/v1/chat", "http://h/v1/chat/completions"),
        ("http://h/v1/Chat/Completions", "http://h/v1/chat/completions"),
        ("http://h/v1/embeddings#x", "http://h/v1/chat/completions"),
        ("http://h/chat/completions", "http://h/chat/completions"),
        ("http://h?a=1", "http://h/v1/chat/completions?a=1"),
        ("http://h/custom", "http://h/custom/chat/completions"),
    ],
)
def test_the_address_of_any_request_leads_to_chat_completions(endpoint: str, url: str) -> None:
    assert resolve("gpt-x", Settings(llm_endpoint=endpoint)).url == url


@pytest.mark.parametrize("path", ["/api/chat?a=1", "/api/tags?a=1", "/v1/?a=1", "?a=1"])
def test_a_query_in_the_address_of_ollama_is_kept(path: str) -> None:
    route = resolve("llama3", Settings(llm_endpoint=OLLAMA + path))

    assert (route.api_base, route.url) == (OLLAMA, f"{OLLAMA}/v1/chat/completions?a=1")


@pytest.mark.parametrize("end", ["/v1/messages", "/v1/models/x:generateContent", "/model/x/converse"])
def test_the_address_of_a_request_in_another_protocol_is_refused(end: str) -> None:
    with pytest.raises(ConfigurationError, match="no request of OpenAI's protocol: give the base of the API"):
        resolve("gpt-x", Settings(llm_endpoint=f"http://host{end}"))


def test_openai_without_an_endpoint_is_the_service_of_openai() -> None:
    route = resolve("openai/gpt-4o", Settings(openai_api_key=SecretStr("sk-openai")))

    assert route.url == "https://api.openai.com/v1/chat/completions"
    assert route.api_key.get_secret_value() == "sk-openai"


@pytest.mark.parametrize("model", ["anthropic/claude-x", "gemini/g", "bedrock/a.claude", "cometapi/x"])
def test_providers_with_their_own_protocols_go_through_litellm(model: str) -> None:
    route = resolve(model, Settings(llm_model=model, llm_api_key=SecretStr("sk-mine")))

    assert (route.litellm_model, route.uses_litellm, route.api_base) == (model, True, None)
    assert route.api_key.get_secret_value() == "sk-mine"


@pytest.mark.parametrize("model", ["nobody/knows", "hosted_vllm/x", "openai/"])
def test_a_model_of_an_unknown_server_is_a_configuration_error(model: str) -> None:
    with pytest.raises(ConfigurationError):
        resolve(model, Settings())


@pytest.mark.parametrize("endpoint", ["", "ftp://host/v1", "host:8000", "file:///etc/passwd"])
def test_an_endpoint_that_is_not_a_url_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError):
        resolve("openai/x" if endpoint else "gpt-x", Settings(llm_endpoint=endpoint))


@pytest.mark.parametrize(
    "model",
    [
        "oobabooga/http://127.0.0.1:8934/steal",
        "huggingface/HTTPS://evil.example/x",
        "huggingface/https:/evil.example",
        "openai/http://evil.example/v1",
        "http://evil.example/v1",
        "https:evil.example",
        "file:///etc/passwd",
        "//evil.example/x",
        "embedded/http://evil.example",
        "ollama/http://evil.example",
        "anything/ws://evil.example",
    ],
)
@pytest.mark.parametrize("endpoint", [None, "http://host:8000/v1"])
def test_a_name_that_is_an_address_is_refused_for_every_server(model: str, endpoint: str | None) -> None:
    given = Settings(llm_endpoint=endpoint, llm_model="gpt-x") if endpoint else Settings()

    with pytest.raises(ConfigurationError, match="written like an address"):
        resolve(model, given)


@pytest.mark.parametrize(
    "rest",
    [
        "127.0.0.1:8934/steal",
        "localhost",
        "localhost:8080/v1",
        "models.example:8080/v1",
        "user@127.0.0.1/x",
        "../../v1/files",
        "a/../b",
        "a//b",
        "/a",
        "a?key=1",
        "a%2F..%2Fb",
        "a\\b",
        "a b",
        "a\nHost: x",
        "\u202ea",
        "arn:aws:bedrock:evil.example/:1:x/y",
        "agentcore/arn:aws:bedrock-agentcore:evil.example:1:runtime/x",
        "converse/arn:evil",
    ],
)
@pytest.mark.parametrize("provider", ["huggingface", "bedrock", "gemini", "oobabooga"])
def test_litellm_gets_no_name_of_which_it_could_make_an_address(provider: str, rest: str) -> None:
    settings = Settings(llm_model=f"{provider}/x", llm_api_key=SecretStr("sk-mine"))

    with pytest.raises(ConfigurationError):
        resolve(f"{provider}/{rest}", settings)


@pytest.mark.parametrize(
    "model",
    [
        "anthropic/claude-sonnet-4-5",
        "bedrock/us-east-1/anthropic.claude-v2:1",
        "bedrock/arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3",
        "bedrock/converse/arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:imported-model/a1b2",
        "cloudflare/@cf/meta/llama-2-7b-chat-int8",
        "fireworks_ai/accounts/fireworks/models/llama-v3#accounts/me/deployments/1",
        "huggingface/together/deepseek-ai/DeepSeek-R1",
        "openrouter/google/gemini-2.0-flash-exp:free",
        "replicate/meta/llama-2-70b-chat:02e509c789964a7ea8736978a43525956ef40397be9033abf9fd2badfe68c9e3",
        "vertex_ai/claude-3-5-sonnet@20240620",
        "watsonx/ibm/granite-13b-chat-v2",
    ],
)
def test_names_that_providers_use_are_not_taken_for_addresses(model: str) -> None:
    settings = Settings(llm_model=model, llm_api_key=SecretStr("sk-mine"))

    assert resolve(model, settings).litellm_model == model


@pytest.mark.parametrize("model", ["petals/bloom", "custom/x", "auto_router/x"])
def test_what_is_no_provider_of_an_address_of_its_own_is_not_asked(model: str) -> None:
    with pytest.raises(ConfigurationError, match="No server is known"):
        resolve(model, Settings(llm_model=model, llm_api_key=SecretStr("sk-mine")))


def test_an_endpoint_speaks_the_protocol_of_the_configured_model_and_that_of_openai_for_others() -> None:
    settings = Settings(
        llm_endpoint="http://host:8000", llm_model="anthropic/claude-x", llm_api_key=SecretStr("sk-mine")
    )

    own, other = resolve("anthropic/claude-y", settings), resolve("deepseek/deepseek-chat", settings)

    assert (own.uses_litellm, own.api_base) == (True, "http://host:8000")
    assert (other.uses_litellm, other.url) == (False, "http://host:8000/v1/chat/completions")
    assert (other.model, other.other_model) == ("deepseek/deepseek-chat", "deepseek-chat")


def test_finding_the_route_imports_neither_litellm_nor_aiohttp() -> None:
    code = (
        "import sys; import penstock.llm; from penstock.llm.providers import resolve;"
        "from penstock.settings import Settings; resolve('anthropic/x', Settings());"
        "print([name for name in ('litellm', 'aiohttp', 'json_repair') if name in sys.modules])"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout == "[]\n"
