"""Which server answers for a model name, and by which road.

Names are litellm's: ``openai/gpt-…``, ``anthropic/…``, ``ollama/…``. Whatever speaks OpenAI's protocol takes
the lean road, which pays only for the HTTP call; the rest goes by litellm. This decides without importing
litellm, which takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import orjson
from pydantic import SecretStr

from penstock.errors import ConfigurationError
from penstock.settings import Settings

_CHAT = "/chat/completions"
_OLLAMA = frozenset({"ollama", "ollama_chat"})
_OPENAI_LIKE = frozenset({
    "custom_openai", "hosted_vllm", "litellm_proxy", "llamafile", "llamacpp", "lm_studio", "openai",
    "openai_like", "vllm",
})  # fmt: skip
_USUAL_BASES = {"lm_studio": "http://localhost:1234/v1", "llamafile": "http://localhost:8080/v1"}
_BY_LITELLM = frozenset({
    "anthropic", "azure", "azure_ai", "bedrock", "cerebras", "cohere", "cohere_chat", "databricks",
    "deepinfra", "deepseek", "fireworks_ai", "gemini", "github", "groq", "huggingface", "mistral",
    "nvidia_nim", "openrouter", "perplexity", "replicate", "sagemaker", "together_ai", "vertex_ai",
    "watsonx", "xai",
})  # fmt: skip
"""Providers that need no look into litellm's folder."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a model is asked: by ``lean`` HTTP at ``url``, or by litellm under ``litellm_model``."""

    provider: str
    model: str
    """The name that the provider knows it by."""
    litellm_model: str
    api_base: str | None = None
    url: str | None = None
    """Where the lean road posts to."""
    api_key: SecretStr = field(default=SecretStr(""), repr=False)
    lean: bool = True

    @property
    def label(self) -> str:
        """``provider/model``, for people."""
        return f"{self.provider}/{self.model}"

    @property
    def is_loopback(self) -> bool:
        """Whether the model runs on this machine."""
        host = urlsplit(self.api_base or "").hostname or ""
        return host in {"localhost", "::1"} or host.startswith("127.")


def resolve(model: str | None, settings: Settings) -> Route:
    """Where ``model`` (None: the default one) is asked; raises ConfigurationError when nothing says where.

    The embedded model's route has no address yet: its server is started when it is first asked.
    """
    name = (model or settings.default_model).strip()
    prefix, slash, rest = name.partition("/")
    if slash and not rest:
        raise ConfigurationError(f"The model '{name}' has no name after its provider.")
    if prefix == "embedded" and slash:
        return Route("embedded", rest, name)
    if "11434" in settings.llm_endpoint and not slash:
        return _by_ollama(name, settings.llm_endpoint, settings.llm_api_key)
    if prefix in _OLLAMA:
        return _by_ollama(rest, settings.llm_endpoint, settings.llm_api_key)
    endpoint = settings.llm_endpoint if "llm_endpoint" in settings.model_fields_set else None
    if prefix in _OPENAI_LIKE and slash:
        return _by_openai(prefix, rest, name, endpoint, settings)
    if endpoint and (not slash or endpoint.rstrip("/").endswith(_CHAT) or not _is_litellms(prefix)):
        # A name such as ``meta-llama/Llama-3.1-8B`` is the server's own, and not a provider's.
        return _lean("openai", name, f"openai/{name}", endpoint, settings.llm_api_key)
    if slash and _is_litellms(prefix):
        return Route(prefix, rest, name, api_base=endpoint, api_key=settings.llm_api_key, lean=False)
    raise ConfigurationError(
        f"Nothing says where the model '{name}' is asked: set LLM_ENDPOINT to its server, or write the "
        "provider before its name, such as openai/… or anthropic/….",
        detail={"model": name},
    )


def _by_openai(prefix: str, rest: str, name: str, endpoint: str | None, settings: Settings) -> Route:
    if endpoint:
        return _lean(prefix, rest, name, endpoint, settings.llm_api_key)
    if prefix == "openai":
        key = settings.openai_api_key if settings.openai_api_key.get_secret_value() else settings.llm_api_key
        return _lean(prefix, rest, name, settings.openai_base_url, key)
    if base := _USUAL_BASES.get(prefix):
        return _lean(prefix, rest, name, base, settings.llm_api_key)
    raise ConfigurationError(
        f"Set LLM_ENDPOINT to the server that answers for '{name}', such as http://localhost:8000/v1.",
        detail={"model": name},
    )


def _by_ollama(model: str, endpoint: str, api_key: SecretStr) -> Route:
    base = endpoint.rstrip("/")
    for end in ("/api/generate", "/api/chat", "/v1/chat/completions", "/v1"):
        base = base.removesuffix(end)
    return Route("ollama", model, f"ollama/{model}", base, f"{base}/v1{_CHAT}", api_key)


def _lean(provider: str, model: str, litellm_model: str, endpoint: str, api_key: SecretStr) -> Route:
    parts = urlsplit(endpoint.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError("LLM_ENDPOINT is not an http:// or https:// address.")
    path = parts.path.rstrip("/").removesuffix(_CHAT)
    if path.endswith("/api/generate"):  # Ollama's own protocol; the same server also speaks OpenAI's
        path = path.removesuffix("/api/generate")
    if not path and not parts.path.rstrip("/").endswith(_CHAT):
        path = "/v1"
    base = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
    url = urlunsplit((parts.scheme, parts.netloc, path + _CHAT, parts.query, ""))
    return Route(provider, model, litellm_model, base, url, api_key)


def _is_litellms(prefix: str) -> bool:
    return prefix in _BY_LITELLM or prefix in _litellm_providers()


@lru_cache(maxsize=1)
def _litellm_providers() -> frozenset[str]:
    """Every provider that litellm lists, read from its folder."""
    path = find_in_litellm("provider_endpoints_support_backup.json")
    if path is None:
        return _BY_LITELLM
    return frozenset(orjson.loads(path.read_bytes()).get("providers", {})) - _OPENAI_LIKE


def find_in_litellm(name: str) -> Path | None:
    """A file that litellm ships, without importing litellm."""
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / name
    return path if path.is_file() else None
