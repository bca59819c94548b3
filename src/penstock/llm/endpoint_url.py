"""What LLM_ENDPOINT says: the base of an API, the address of one of its requests, or another protocol."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from penstock.errors import ConfigurationError

CHAT = "/chat/completions"
_OPENAI_ENDS = (CHAT, "/completions", "/responses", "/embeddings", "/models", "/chat")
_OLLAMA_ENDS = ("/api/generate", "/api/chat", "/api/tags")
_OTHER_ENDS = ("/messages", ":generatecontent", "/converse", "/invoke")
"""Requests of Anthropic's, Google's and Amazon's protocols."""


def speaks_openai(endpoint: str) -> bool:
    """Whether an address is that of an API in OpenAI's protocol, whatever the model is called."""
    path = _path_of(endpoint)
    return path.endswith(("/v1", "/openai", *_OPENAI_ENDS))


def find_base(endpoint: str) -> str:
    """The base of the API that an address belongs to, such as ``https://host/v1``, with its query.

    Raises ConfigurationError when it is no address, or one in another protocol than OpenAI's or Ollama's.
    """
    parts = urlsplit(endpoint.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError("LLM_ENDPOINT is not an http:// or https:// address.")
    path = _path_of(endpoint, lower=False)
    if other := next((end for end in _OTHER_ENDS if path.lower().endswith(end)), None):
        raise ConfigurationError(
            f"LLM_ENDPOINT ends in {other}, which is no request of OpenAI's protocol: give the base of the "
            "API, such as https://host/v1, or write the provider before the model's name.",
        )
    end = next((end for end in (*_OLLAMA_ENDS, *_OPENAI_ENDS) if path.lower().endswith(end)), "")
    path = path[: len(path) - len(end)].rstrip("/")
    if not path and end != CHAT:
        path = "/v1"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def join(base: str, path: str) -> str:
    """``base`` with a path added before its query."""
    parts = urlsplit(base)
    return urlunsplit(parts._replace(path=parts.path + path))


def without_query(base: str) -> str:
    """``base`` without its query."""
    return urlunsplit(urlsplit(base)._replace(query=""))


def _path_of(endpoint: str, *, lower: bool = True) -> str:
    path = urlsplit(endpoint.strip()).path.rstrip("/")
    return path.lower() if lower else path
