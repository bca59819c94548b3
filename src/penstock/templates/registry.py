"""The templates of penstock's own folder and of the user's."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

from penstock.errors import DefinitionError
from penstock.serialization import parse_json
from penstock.yaml_reader import load_yaml

logger = logging.getLogger(__name__)

MAX_BYTES = 1_000_000
"""The size of the largest template or seed file that is read."""
MAX_ALIASES = 50
"""The most YAML aliases in a template: a few of them, nested, can become gigabytes."""


class TemplateRegistry:
    """The templates of a folder, penstock's own by default, and of the user's folder where there is one.

    A template's id is its file's name without ``.yaml``; the user's replaces ours of the same id. A file that
    cannot be used is skipped and listed in ``errors``, each entry with ``file`` and ``error``.
    """

    def __init__(self, templates_dir: Path | None = None, *, user_dir: Path | None = None) -> None:
        self.templates_dir = Path(templates_dir) if templates_dir is not None else Path(__file__).parent
        self.errors: list[dict[str, str]] = []
        self._templates: dict[str, dict[str, Any]] = {}
        self._seeds: dict[str, list[dict[str, Any]]] = {}
        for folder in (self.templates_dir, user_dir):
            if folder is not None:
                self._load_folder(Path(folder))

    def list_templates(self) -> list[dict[str, Any]]:
        """Each template's id, name and description, and its seeds as ``example_seed`` where it has some."""
        return [
            {
                "id": template_id,
                "name": definition["name"],
                "description": definition.get("description", ""),
                **({"example_seed": seeds} if (seeds := self.example_seeds(template_id)) else {}),
            }
            for template_id, definition in sorted(self._templates.items())
        ]

    def get_template(self, template_id: str) -> dict[str, Any] | None:
        """A copy of the definition, for the caller to change; None when there is no such template."""
        return copy.deepcopy(self._templates.get(template_id))

    def example_seeds(self, template_id: str) -> list[dict[str, Any]]:
        """The seeds that come with a template, each ``{repetitions, metadata}``; empty if none do."""
        return copy.deepcopy(self._seeds.get(template_id, []))

    def _load_folder(self, folder: Path) -> None:
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix in {".yaml", ".yml"})
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._skip(folder, error)
            return
        for path in paths:
            try:
                self._templates[path.stem] = _read_definition(path)
            except (OSError, ValueError, DefinitionError) as error:
                self._skip(path, error)
                continue
            self._load_seeds(path.stem, folder / "seeds" / f"seed_{path.stem}.json")

    def _load_seeds(self, template_id: str, path: Path) -> None:
        self._seeds.pop(template_id, None)  # those of a template that this one replaces
        try:
            self._seeds[template_id] = _read_seeds(path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self._skip(path, error)

    def _skip(self, path: Path, error: Exception) -> None:
        reason = " ".join(str(error).split())
        self.errors.append({"file": str(path), "error": reason})
        logger.warning("The template %s was skipped: %s", path.name, reason)


def _read_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
    return content


def _read_definition(path: Path) -> dict[str, Any]:
    """The definition in a template file; raises OSError, ValueError or DefinitionError."""
    definition = load_yaml(_read_bytes(path).decode("utf-8-sig"), max_aliases=MAX_ALIASES)
    if not isinstance(definition, dict):
        raise ValueError("it must be a mapping with name and blocks")
    name, blocks = definition.get("name"), definition.get("blocks")
    if not isinstance(name, str) or not name.strip():
        raise ValueError("it has no name")
    if not isinstance(blocks, list) or not blocks:
        raise ValueError("it has no list of blocks")
    for number, block in enumerate(blocks, start=1):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise ValueError(f"block {number} has no type")
    return definition


def _read_seeds(path: Path) -> list[dict[str, Any]]:
    seeds = parse_json(_read_bytes(path))
    if isinstance(seeds, dict):
        seeds = [seeds]
    if not isinstance(seeds, list) or not all(
        isinstance(seed, dict) and isinstance(seed.get("metadata"), dict) for seed in seeds
    ):
        raise ValueError("each seed must be an object with metadata")
    return seeds
