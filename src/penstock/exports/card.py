"""The card of a dataset: a ``README.md`` for people, with front matter for the Hugging Face Hub.

Front matter: https://huggingface.co/docs/hub/datasets-cards
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from penstock.exports.atomic_file import replace_file
from penstock.exports.manifest import CARD_NAME, add_file_list, refuse_foreign_files
from penstock.redaction import mask_secrets

Table = list[tuple[str, str]]

_PIPELINE_NAME = "pipeline.yaml"
_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_FIRST_SIZE = 1_000
_USAGE_LABELS = {
    "llm_calls": "Model calls",
    "total_input_tokens": "Input tokens",
    "total_output_tokens": "Output tokens",
    "total_cached_tokens": "Cached tokens",
}


def write_card(folder: Path | str, details: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Write a dataset's card, ``README.md``, and its ``pipeline.yaml`` beside it.

    Each of the details may be missing: ``name``, ``description``, ``pipeline`` (the definition),
    ``pipeline_version``, ``penstock`` (version), ``model`` or ``models``, ``seeds``, ``seeds_digest``,
    ``counts`` (by status), ``usage`` (as ``Usage.to_dict`` gives it), ``format``, ``data`` (the file's name),
    ``rows``, ``license``, ``language``. Secrets in them are masked. Raises BadInputError for an existing file
    that no export made, unless ``overwrite`` is set, and StorageError when a file cannot be written.
    """
    folder = Path(folder)
    refuse_foreign_files([folder / name for name in list_card_files(details)], overwrite=overwrite)
    known = cast("dict[str, Any]", mask_secrets(details))
    files: dict[str, bytes | None] = {str(known["data"]): None} if known.get("data") else {}
    definition = known.get("pipeline")
    if isinstance(definition, dict):
        text = yaml.safe_dump(definition, sort_keys=False, allow_unicode=True, width=100)
        files[_PIPELINE_NAME] = text.encode("utf-8", "replace")
    card = add_file_list(_make_card(known), folder, files).encode("utf-8", "replace")
    for name, content in {**files, CARD_NAME: card}.items():
        if content is not None:
            with replace_file(folder / name) as file:
                file.write(content)


def list_card_files(details: Mapping[str, Any]) -> list[str]:
    """The names of the files that ``write_card`` writes."""
    return [_PIPELINE_NAME, CARD_NAME] if isinstance(details.get("pipeline"), dict) else [CARD_NAME]


def _make_card(details: Mapping[str, Any]) -> str:
    definition = details["pipeline"] if isinstance(details.get("pipeline"), dict) else {}
    name = " ".join(str(details.get("name") or definition.get("name") or "Dataset").split())
    description = details.get("description") or definition.get("description") or ""
    sections = [
        _make_front_matter(details, name),
        f"# {_escape(name)}",
        _escape(description),
        "Synthetic data: a language model wrote it, by the pipeline in `pipeline.yaml`."
        if definition
        else "Synthetic data: a language model wrote it.",
        _format_table("How it was made", _list_origin(details, definition)),
        _format_table("Records", _list_counts(details)),
        _format_table("Steps", _list_steps(definition), ("Step", "Gates that its output passed")),
        _format_table("What it cost", _list_usage(_mapping(details.get("usage")))),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _make_front_matter(details: Mapping[str, Any], name: str) -> str:
    from huggingface_hub import DatasetCardData  # takes half a second, and only cards need it

    rows, data = details.get("rows"), details.get("data")
    files = [{"split": "train", "path": data}]
    matter = DatasetCardData(
        pretty_name=name,
        license=details.get("license") or None,
        language=details.get("language") or None,
        size_categories=[_find_size_category(rows)] if isinstance(rows, int) else None,
        tags=["synthetic", "penstock"],
        configs=[{"config_name": "default", "data_files": files}] if data else None,
    )
    return f"---\n{matter.to_yaml()}\n---"


def _find_size_category(rows: int) -> str:
    """The size category of the Hub, such as ``1K<n<10K``."""
    bound, lower = _FIRST_SIZE, ""
    for upper in _SIZES:
        if rows < bound:
            return f"{lower}<n<{upper}" if lower else f"n<{upper}"
        bound, lower = bound * 10, upper
    return f"n>{lower}"


def _list_origin(details: Mapping[str, Any], definition: Mapping[str, Any]) -> Table:
    """What the dataset was made from, and with which model, pipeline and version."""
    version = details.get("pipeline_version")
    name = _escape(definition.get("name") or "")
    digest = details.get("seeds_digest")
    rows = details.get("rows")
    table = [
        ("Pipeline", f"{name}, version {version}" if name and version else name),
        ("Model", ", ".join(_format_code(model) for model in _list_models(details, definition))),
        ("penstock", _escape(details.get("penstock") or "")),
        ("Seeds", _escape(details.get("seeds") or "")),
        ("SHA-256 of the seeds", _format_code(digest) if digest else ""),
        ("Format", _escape(details.get("format") or "")),
        ("Rows", f"{rows:,}" if isinstance(rows, int) else ""),
    ]
    return [(label, value) for label, value in table if value]


def _list_models(details: Mapping[str, Any], definition: Mapping[str, Any]) -> Sequence[Any]:
    """The models that the job was started with, else those that the steps name."""
    models = details.get("models") or details.get("model")
    if isinstance(models, list | tuple):
        return models
    if models:
        return [models]
    configs = (_mapping(_mapping(step).get("config")) for step in _list(definition.get("blocks")))
    return sorted({str(config.get("model") or "") for config in configs} - {""})


def _list_counts(details: Mapping[str, Any]) -> Table:
    counts = _mapping(details.get("counts"))
    return [
        (_escape(status), f"{count:,}" if isinstance(count, int) else _escape(count))
        for status, count in counts.items()
    ]


def _list_steps(definition: Mapping[str, Any]) -> Table:
    table = []
    for step in map(_mapping, _list(definition.get("blocks"))):
        gates = [_escape(_mapping(gate).get("type") or "") for gate in _list(step.get("gates"))]
        table.append((_escape(step.get("type") or ""), ", ".join(gates) or "none"))
    return table


def _list_usage(usage: Mapping[str, Any]) -> Table:
    table = [
        (label, f"{usage[key]:,}") for key, label in _USAGE_LABELS.items() if isinstance(usage.get(key), int)
    ]
    if usage and usage.get("total_tokens", 0) is None:
        table.append(("Tokens", "unknown: the provider did not report them"))
    if usage:
        cost = usage.get("total_cost")
        table.append(("Money", f"{cost:.4f} USD" if isinstance(cost, int | float) else "unknown"))
    return table


def _format_table(title: str, rows: Table, head: tuple[str, str] = ("", "")) -> str:
    """A section with a Markdown table; nothing when it has no rows."""
    if not rows:
        return ""
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows)]
    return f"## {title}\n\n" + "\n".join(lines)


def _mapping(value: Any) -> Mapping[str, Any]:
    """The value, or an empty mapping in place of anything else: a definition may be malformed."""
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _escape(value: Any) -> str:
    """A value as one line of Markdown text, without markup."""
    return re.sub(r"([|<>\[\]`*_#])", r"\\\1", " ".join(str(value).split()))


def _format_code(value: Any) -> str:
    text = " ".join(str(value).split())
    return f"`{text.replace('`', '').replace('|', '')}`"
