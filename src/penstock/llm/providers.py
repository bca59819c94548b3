"""Which server a model name stands for, and whether it is asked in OpenAI's protocol or through litellm.

Names are litellm's: ``openai/gpt-…``, ``anthropic/…``, ``ollama/…``. Servers that speak OpenAI's protocol are
asked directly, which is faster; the rest goes through litellm. This module decides without importing litellm,
which takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import orjson
from pydantic import SecretStr

from penstock.errors import ConfigurationError
from penstock.llm.endpoint_url import CHAT, find_base, join, speaks_openai, without_query
from penstock.settings import Settings

_OLLAMA = frozenset({"ollama", "ollama_chat"})
_OPENAI_LIKE = frozenset({
    "custom_openai", "hosted_vllm", "litellm_proxy", "llamafile", "llamacpp", "lm_studio", "openai",
    "openai_like", "vllm",
})  # fmt: skip
_DEFAULT_BASES = {"lm_studio": "http://localhost:1234/v1", "llamafile": "http://localhost:8080/v1"}
_KNOWN_LITELLM_PROVIDERS = frozenset({
    "anthropic", "azure", "azure_ai", "bedrock", "cerebras", "cohere", "cohere_chat", "databricks",
    "deepinfra", "deepseek", "fireworks_ai", "gemini", "github", "groq", "huggingface", "mistral",
    "nvidia_nim", "openrouter", "perplexity", "replicate", "sagemaker", "together_ai", "vertex_ai",
    "watsonx", "xai",
})  # fmt: skip
"""The usual ones, known without reading litellm's own list."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a model is asked: at ``url`` in OpenAI's protocol, or through litellm as ``litellm_model``."""

    provider: str
    model: str
    """The provider's name for it."""
    litellm_model: str
    api_base: str | None = None
    url: str | None = None
    """Where chat completions are posted."""
    api_key: SecretStr = field(default=SecretStr(""), repr=False)
    uses_litellm: bool = False
    other_model: str | None = None
    """Another name by which the server may know the model, tried when it does not know ``model``."""
    login: SecretStr = field(default=SecretStr(""), repr=False)
    """``user:password`` of the address, sent as HTTP Basic authentication."""

    @property
    def label(self) -> str:
        """``provider/model``, for people."""
        return f"{self.provider}/{self.model}"

    @property
    def is_loopback(self) -> bool:
        """Whether the model runs on this machine."""
        return is_loopback(urlsplit(self.api_base or "").hostname or "")


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine."""
    return host in {"localhost", "::1"} or host.startswith("127.")


def resolve(model: str | None, settings: Settings) -> Route:
    """The route of ``model`` (None: the default one).

    The embedded model's route has no URL yet: its server is started at the first request. Raises
    ConfigurationError when neither the name nor the settings say which server to ask.
    """
    name = (model or settings.default_model).strip()
    prefix, slash, rest = name.partition("/")
    if slash and not rest:
        raise ConfigurationError(f"The model '{name}' has no name after its provider.")
    if prefix == "embedded" and slash:
        return Route("embedded", rest, name)
    if "11434" in settings.llm_endpoint and not slash:
        return _ollama_route(name, settings.llm_endpoint, settings.llm_api_key)
    if prefix in _OLLAMA:
        return _ollama_route(rest, settings.llm_endpoint, settings.llm_api_key)
    endpoint = settings.llm_endpoint if "llm_endpoint" in settings.model_fields_set else None
    if prefix in _OPENAI_LIKE and slash:
        return _openai_like_route(prefix, rest, name, endpoint, settings)
    if endpoint and (not slash or speaks_openai(endpoint) or not _is_litellm_provider(prefix)):
        # A name such as ``meta-llama/Llama-3.1-8B`` belongs to the server: its prefix is not a provider.
        other = rest if slash and _is_litellm_provider(prefix) else None
        return _openai_route("openai", name, f"openai/{name}", endpoint, settings.llm_api_key, other)
    if slash and _is_litellm_provider(prefix):
        return Route(prefix, rest, name, api_base=endpoint, api_key=settings.llm_api_key, uses_litellm=True)
    raise ConfigurationError(
        f"No server is known for the model '{name}': set LLM_ENDPOINT to its URL, or write the provider "
        "before its name, such as openai/… or anthropic/….",
        detail={"model": name},
    )


def _openai_like_route(prefix: str, rest: str, name: str, endpoint: str | None, settings: Settings) -> Route:
    if endpoint:  # ``openai/gpt-oss-20b`` may be the server's own name
        return _openai_route(prefix, rest, name, endpoint, settings.llm_api_key, other_model=name)
    if prefix == "openai":
        key = settings.openai_api_key if settings.openai_api_key.get_secret_value() else settings.llm_api_key
        return _openai_route(prefix, rest, name, settings.openai_base_url, key)
    if base := _DEFAULT_BASES.get(prefix):
        return _openai_route(prefix, rest, name, base, settings.llm_api_key)
    raise ConfigurationError(
        f"Set LLM_ENDPOINT to the server that answers for '{name}', such as http://localhost:8000/v1.",
        detail={"model": name},
    )


def _ollama_route(model: str, endpoint: str, api_key: SecretStr) -> Route:
    endpoint, login = _split_login(endpoint)
    parts = urlsplit(find_base(endpoint))
    base = urlunsplit(parts._replace(path=parts.path.removesuffix("/v1").rstrip("/")))
    url = join(base, f"/v1{CHAT}")
    return Route("ollama", model, f"ollama/{model}", without_query(base), url, api_key, login=login)


def _split_login(endpoint: str) -> tuple[str, SecretStr]:
    """An address without its ``user:password@``, and that login decoded."""
    parts = urlsplit(endpoint.strip())
    login, at, server = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=server)) if at else endpoint.strip(), SecretStr(unquote(login))


def _openai_route(
    provider: str,
    model: str,
    litellm_model: str,
    endpoint: str,
    api_key: SecretStr,
    other_model: str | None = None,
) -> Route:
    endpoint, login = _split_login(endpoint)
    base = find_base(endpoint)
    url = join(base, CHAT)
    base = without_query(base)
    return Route(provider, model, litellm_model, base, url, api_key, other_model=other_model, login=login)


def _is_litellm_provider(prefix: str) -> bool:
    return prefix in _KNOWN_LITELLM_PROVIDERS or prefix in _litellm_providers()


@lru_cache(maxsize=1)
def _litellm_providers() -> frozenset[str]:
    """Every provider that litellm lists, read from its folder."""
    path = find_in_litellm("provider_endpoints_support_backup.json")
    if path is None:
        return _KNOWN_LITELLM_PROVIDERS
    return frozenset(orjson.loads(path.read_bytes()).get("providers", {})) - _OPENAI_LIKE


def find_in_litellm(name: str) -> Path | None:
    """A file that litellm ships, without importing litellm."""
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / name
    return path if path.is_file() else None
