"""Which server a model name stands for, and whether it is asked in OpenAI's protocol or through litellm.

Names are litellm's: ``openai/gpt-…``, ``anthropic/…``, ``ollama/…``. Servers that speak OpenAI's protocol are
asked directly, which is faster; the rest goes through litellm. This module decides without importing litellm,
which takes seconds. Where requests go is said by the settings and by the provider in front of a name, never
by the rest of the name: a name that litellm could take for an address is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import orjson
from pydantic import SecretStr

from penstock.errors import ConfigurationError, LLMSetupError, PipelineError
from penstock.llm.endpoint_url import CHAT, find_base, join, speaks_openai, without_query
from penstock.llm.provider_keys import PLACEHOLDER, family, find_key, is_local, owner
from penstock.settings import Settings, read_variable

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
_NO_PROVIDERS = frozenset({"a2a", "auto_router", "custom", "petals"})
"""What litellm lists beside providers: ways that need code or addresses of the caller's."""
_ADDRESS = re.compile(r"(?i)://|(?:^|/)\s*(?:https?|wss?|ftp|file|data|unix):|^//|\\\\")
"""What makes a name an address, for whichever server."""
_PART = r"[A-Za-z0-9@~][A-Za-z0-9._:@+~#*=,()\-]*"
_LITELLM_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
"""Names that litellm may put into an address: no query, no empty part, and no part that leads upwards."""
_HOST = re.compile(
    r"(?i)(?:^|[/@])(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|[a-z0-9\-]+(?:\.[a-z0-9\-]+)*\.[a-z]{2,}(?=:\d{2,5}))"
    r"(?::\d{1,5})?(?:/|$)"
)
"""A part of a name that is a host, with or without a port."""
_ARN = re.compile(r"arn:aws[a-z\-]*:[a-z0-9\-]+:[a-z0-9\-]*:[0-9]*:[^:]+(?::[^:]+)*")
"""A resource of AWS; litellm makes its region a part of the host's name."""


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
    missing_key: str = ""
    """The sentence that says which key to set, when the provider needs one and it is missing."""

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
    ConfigurationError when neither the name nor the settings say which server to ask, or when the name is an
    address. A route whose key is missing says so in ``missing_key``.
    """
    name = (model or settings.default_model).strip()
    if _ADDRESS.search(name):
        raise _address_error(name)
    prefix, slash, rest = name.partition("/")
    if slash and not rest:
        raise ConfigurationError(f"The model '{name}' has no name after its provider.")
    if prefix == "embedded" and slash:
        return Route("embedded", rest, name)
    endpoint = settings.llm_endpoint if "llm_endpoint" in settings.model_fields_set else None
    if "11434" in settings.llm_endpoint and not slash:
        return _ollama_route(name, settings, endpoint)
    if prefix in _OLLAMA:
        return _ollama_route(rest, settings, endpoint)
    if prefix in _OPENAI_LIKE and slash:
        return _openai_like_route(prefix, rest, name, endpoint, settings)
    if slash and _is_litellm_provider(prefix) and _speaks_its_protocol(endpoint, prefix, settings):
        return _litellm_route(prefix, rest, name, endpoint, settings)
    if endpoint:
        # A name such as ``meta-llama/Llama-3.1-8B`` belongs to the server: its prefix is not a provider.
        other = rest if slash and _is_litellm_provider(prefix) else None
        return _openai_route("openai", name, f"openai/{name}", endpoint, settings.llm_api_key, other)
    raise ConfigurationError(
        f"No server is known for the model '{name}': set LLM_ENDPOINT to its URL, or write the provider "
        "before its name, such as openai/… or anthropic/….",
        detail={"model": name},
    )


def find_model_problem(model: str | None, settings: Settings) -> str | None:
    """The sentence that says why ``model`` (None: the default one) cannot be asked; None when it can."""
    try:
        return resolve(model, settings).missing_key or None
    except PipelineError as error:
        return error.message


def require_key(route: Route) -> Route:
    """The route, if it has the key that it needs; else raises LLMSetupError."""
    if route.missing_key:
        raise LLMSetupError(route.missing_key, detail={"model": route.label})
    return route


def _address_error(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"The model '{name}' is written like an address: write a provider and a name, and set the address by "
        "LLM_ENDPOINT.",
        detail={"model": name},
    )


def _speaks_its_protocol(endpoint: str | None, prefix: str, settings: Settings) -> bool:
    """Whether a provider of litellm is asked in its own protocol.

    LLM_ENDPOINT speaks the protocol of LLM_MODEL's provider, and OpenAI's for all others.
    """
    if not endpoint:
        return True
    return family(prefix) == owner(settings) and not speaks_openai(endpoint)


def _litellm_route(prefix: str, rest: str, name: str, endpoint: str | None, settings: Settings) -> Route:
    _refuse_addresses(rest, name)
    key = find_key(prefix, settings)
    base = endpoint
    if not endpoint and family(prefix) == "azure":
        # Else litellm sends some models of Azure, and Azure's key, to OpenAI.
        base = read_variable("AZURE_API_BASE").get_secret_value() or None
    value = PLACEHOLDER if is_local(prefix) and not key.value.get_secret_value() else key.value
    return Route(prefix, rest, name, base, api_key=value, uses_litellm=True, missing_key=key.missing)


def _refuse_addresses(rest: str, name: str) -> None:
    """Raise ConfigurationError when litellm could take a part of ``rest`` for an address."""
    start = rest.find("arn:")
    if not _LITELLM_NAME.fullmatch(rest) or _HOST.search(rest):
        raise _address_error(name)
    if start >= 0 and not _ARN.fullmatch(rest[start:]):
        raise ConfigurationError(
            f"The model '{name}' is not a resource of AWS: write arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE.",
            detail={"model": name},
        )


def _openai_like_route(prefix: str, rest: str, name: str, endpoint: str | None, settings: Settings) -> Route:
    if endpoint:  # ``openai/gpt-oss-20b`` may be the server's own name
        return _openai_route(prefix, rest, name, endpoint, settings.llm_api_key, other_model=name)
    key = find_key(prefix, settings)
    if prefix == "openai":
        route = _openai_route(prefix, rest, name, settings.openai_base_url, key.value)
        return replace(route, missing_key=key.missing)
    if base := _DEFAULT_BASES.get(prefix):
        return _openai_route(prefix, rest, name, base, key.value)
    raise ConfigurationError(
        f"Set LLM_ENDPOINT to the server that answers for '{name}', such as http://localhost:8000/v1.",
        detail={"model": name},
    )


def _ollama_route(model: str, settings: Settings, endpoint: str | None) -> Route:
    key = settings.llm_api_key if endpoint else find_key("ollama", settings).value
    address, login = _split_login(settings.llm_endpoint)
    parts = urlsplit(find_base(address))
    base = urlunsplit(parts._replace(path=parts.path.removesuffix("/v1").rstrip("/")))
    url = join(base, f"/v1{CHAT}")
    return Route("ollama", model, f"ollama/{model}", without_query(base), url, key, login=login)


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
    return frozenset(orjson.loads(path.read_bytes()).get("providers", {})) - _OPENAI_LIKE - _NO_PROVIDERS


def find_in_litellm(name: str) -> Path | None:
    """A file that litellm ships, without importing litellm."""
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / name
    return path if path.is_file() else None
