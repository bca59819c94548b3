"""Which key belongs to which provider.

``LLM_API_KEY`` belongs to ``LLM_ENDPOINT`` where that is set, or else to the provider of ``LLM_MODEL``. All
other providers use keys of their own names, such as ``DEEPSEEK_API_KEY``, so that no pipeline can send a key
elsewhere by naming a model. A key is always passed to litellm, which otherwise takes OPENAI_API_KEY for many
providers that have none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from penstock.settings import Settings, read_variable

_NAMES: Mapping[str, tuple[str, ...]] = {
    "ai21_chat": ("AI21_API_KEY",),
    "apertis": ("STIMA_API_KEY",),
    "azure": ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"),
    "azure_ai": ("AZURE_AI_API_KEY",),
    "cohere": ("COHERE_API_KEY", "CO_API_KEY"),
    "cometapi": ("COMETAPI_KEY", "COMETAPI_API_KEY"),
    "databricks": ("DATABRICKS_API_KEY", "DATABRICKS_TOKEN"),
    "datarobot": ("DATAROBOT_API_TOKEN",),
    "featherless_ai": ("FEATHERLESS_AI_API_KEY", "FEATHERLESS_API_KEY"),
    "fireworks_ai": (
        "FIREWORKS_AI_API_KEY", "FIREWORKS_API_KEY", "FIREWORKSAI_API_KEY", "FIREWORKS_AI_TOKEN",
    ),
    "friendliai": ("FRIENDLIAI_API_KEY", "FRIENDLI_TOKEN"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "gigachat": ("GIGACHAT_API_KEY",),
    "huggingface": ("HUGGINGFACE_API_KEY", "HF_TOKEN"),
    "jina_ai": ("JINA_AI_API_KEY", "JINA_API_KEY", "JINA_AI_TOKEN"),
    "lambda_ai": ("LAMBDA_API_KEY",),
    "meta_llama": ("LLAMA_API_KEY",),
    "mistral": ("MISTRAL_API_KEY", "MISTRAL_AZURE_API_KEY"),
    "nano-gpt": ("NANOGPT_API_KEY",),
    "nvidia_riva": ("NVIDIA_RIVA_API_KEY", "NVIDIA_NIM_API_KEY"),
    "opencode_go": ("OPENCODE_GO_API_KEY", "OPENCODE_API_KEY"),
    "openrouter": ("OPENROUTER_API_KEY", "OR_API_KEY"),
    "perplexity": ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    "qwen_ai_platform": ("QWEN_AI_PLATFORM_API_KEY", "DASHSCOPE_API_KEY"),
    "qwencloud": ("QWENCLOUD_API_KEY", "DASHSCOPE_API_KEY"),
    "replicate": ("REPLICATE_API_KEY", "REPLICATE_API_TOKEN"),
    "scaleway": ("SCW_SECRET_KEY",),
    "scx-ai": ("SCX_API_KEY",),
    "tensormesh": ("TENSORMESH_INFERENCE_API_KEY",),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_TOKEN"),
    "veniceai": ("VENICE_AI_API_KEY",),
    "vercel_ai_gateway": ("VERCEL_AI_GATEWAY_API_KEY", "VERCEL_OIDC_TOKEN"),
    "voyage": ("VOYAGE_API_KEY", "VOYAGE_AI_API_KEY", "VOYAGE_AI_TOKEN"),
}  # fmt: skip
"""Variables of providers whose key is not in ``PROVIDER_API_KEY``, as litellm names them."""
_SAME_KEY: Mapping[str, str] = {
    "ai21": "ai21_chat",
    "anthropic_text": "anthropic",
    "azure_text": "azure",
    "bedrock_mantle": "bedrock",
    "cohere_chat": "cohere",
    "custom_openai": "openai",
    "nanogpt": "nano-gpt",
    "ollama_chat": "ollama",
    "sagemaker_chat": "sagemaker",
    "sagemaker_nova": "sagemaker",
    "text-completion-codestral": "codestral",
    "text-completion-inception": "inception",
    "text-completion-openai": "openai",
    "venice": "veniceai",
    "vertex_ai_beta": "vertex_ai",
    "watsonx_text": "watsonx",
}
"""Other prefixes of model names for the same provider."""
_ENTRA_ID = ("AZURE_AD_TOKEN", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_PASSWORD")
_OTHER_CREDENTIALS: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_AUTH_TOKEN",),
    "azure": _ENTRA_ID,
    "azure_ai": _ENTRA_ID,
    "databricks": ("DATABRICKS_CLIENT_SECRET",),
    "gigachat": ("GIGACHAT_CREDENTIALS", "GIGACHAT_ACCESS_TOKEN"),
    "snowflake": ("SNOWFLAKE_JWT",),
}
"""Variables that serve in place of a key, and that litellm reads by itself."""
_SEVERAL_CREDENTIALS = frozenset({"bedrock", "gdc", "oci", "sagemaker", "sap", "vertex_ai", "watsonx"})
"""Providers that need no single key: their credentials are in files, in the machine, or in many variables."""
_SIGN_IN = frozenset({"chatgpt", "github_copilot", "microsoft_365_copilot"})
"""Providers at which litellm signs in by asking the user to open a page."""
_LOCAL = frozenset({
    "docker_model_runner", "infinity", "langflow", "langgraph", "lemonade", "llamafile", "lm_studio",
    "ollama", "oobabooga", "triton", "xinference",
})  # fmt: skip
"""Servers of one's own, which need a key only where they were set up with one."""
PLACEHOLDER = SecretStr("not-needed")
"""Passed to litellm for a server that needs no key, for which it would else take OPENAI_API_KEY."""
_EMPTY = SecretStr("")
_OPENAI_URL = str(Settings.model_fields["openai_base_url"].default)


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """The key for one provider, or why there is none."""

    value: SecretStr = field(default=_EMPTY, repr=False)
    missing: str = ""
    """The sentence that says what to set, when the key is needed and missing."""


def family(provider: str) -> str:
    """The provider under one name, where litellm has several for it."""
    return _SAME_KEY.get(provider, provider)


def owner(settings: Settings) -> str | None:
    """The provider that LLM_API_KEY belongs to, by the settings; None when LLM_MODEL is not set.

    With LLM_ENDPOINT it is the one whose protocol that server speaks.
    """
    if "llm_model" not in settings.model_fields_set:
        return None
    prefix, slash, _ = settings.llm_model.strip().partition("/")
    if slash:
        return family(prefix)
    return "ollama" if "11434" in settings.llm_endpoint else None


def is_local(provider: str) -> bool:
    """Whether the provider is a server of one's own, which needs no key unless it was set up with one."""
    return family(provider) in _LOCAL


def needs_sign_in(provider: str) -> bool:
    """Whether litellm signs in at the provider by asking the user to open a page."""
    return family(provider) in _SIGN_IN


def find_key(provider: str, settings: Settings) -> ProviderKey:
    """The key for a provider that is asked at its own address."""
    name = family(provider)
    own = _find_own_key(name, settings)
    is_owner = name == owner(settings)
    shared = settings.llm_api_key if is_owner else _EMPTY
    found = next((key for key in _in_order(name, shared, own) if key.get_secret_value().strip()), None)
    if found is not None:
        return ProviderKey(found)
    if name in _SIGN_IN and not is_owner:
        sentence = f"The provider {provider} needs a sign-in: it can only be that of LLM_MODEL."
        return ProviderKey(missing=sentence)
    if name in _LOCAL or _has_other_credentials(name, settings):
        return ProviderKey()
    return ProviderKey(missing=_describe_missing(provider, name, settings, is_owner=is_owner))


def _in_order(name: str, shared: SecretStr, own: SecretStr) -> tuple[SecretStr, SecretStr]:
    return (own, shared) if name == "openai" else (shared, own)


def _find_own_key(name: str, settings: Settings) -> SecretStr:
    if name == "openai":
        return settings.openai_api_key
    if name in _SEVERAL_CREDENTIALS:
        return _EMPTY  # litellm reads them by itself
    return next((key for one in key_names(name) if (key := read_variable(one)).get_secret_value()), _EMPTY)


def key_names(provider: str) -> tuple[str, ...]:
    """The variables that hold the key of a provider, the usual one first."""
    name = family(provider)
    return _NAMES.get(name) or (f"{name.upper().replace('-', '_')}_API_KEY",)


def _has_other_credentials(name: str, settings: Settings) -> bool:
    """Whether the provider can be asked without a key that penstock knows."""
    if name == "openai":  # a server of one's own may need none
        return settings.openai_base_url.rstrip("/") != _OPENAI_URL
    variables = _OTHER_CREDENTIALS.get(name, ())
    return name in _SEVERAL_CREDENTIALS | _SIGN_IN or any(os.environ.get(one) for one in variables)


def _describe_missing(provider: str, name: str, settings: Settings, *, is_owner: bool) -> str:
    names = key_names(name)[:2]
    if is_owner:
        return f"The provider {provider} needs an API key: set {' or '.join(('LLM_API_KEY', *names))}."
    sentence = f"The provider {provider} needs an API key of its own: set {' or '.join(names)}."
    if not settings.llm_api_key.get_secret_value():
        return sentence
    other = owner(settings)
    belongs = f"it belongs to {other}" if other else "it belongs to no provider while LLM_MODEL names none"
    return f"{sentence[:-1]} (LLM_API_KEY is not sent there: {belongs})."
