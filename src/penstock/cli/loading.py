"""Find the pipelines and seeds that the arguments of a command name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.errors import BadInputError

if TYPE_CHECKING:
    from penstock.seeds import SeedSource
    from penstock.workflow import Pipeline

EXAMPLE_SEEDS = "examples"
"""The argument that means a template's own example seeds."""


def find_definition(name: str) -> tuple[dict[str, Any], str | None]:
    """The definition in a file or of a template, and the file's text (None for a template).

    Raises BadInputError when it is neither.
    """
    from penstock.workflow import load_definition

    path = Path(name)
    if path.is_file() or path.suffix in {".yaml", ".yml", ".json"}:
        return load_definition(path)
    from penstock.settings import get_settings
    from penstock.templates import TemplateRegistry

    registry = TemplateRegistry(user_dir=get_settings().user_templates)
    definition = registry.get_template(name)
    if definition is None:
        known = ", ".join(template["id"] for template in registry.list_templates())
        raise BadInputError(f"There is no file and no template '{name}'; templates: {known}.")
    return definition, None


def load_pipeline(name: str) -> Pipeline:
    """The pipeline in a file or of a template; raises DefinitionError or BadInputError."""
    from penstock.workflow import Pipeline

    definition, _ = find_definition(name)
    return Pipeline.load_from_dict(definition)


def load_seeds(name: str, pipeline: str) -> SeedSource:
    """The seeds of a file, of standard input (``-``), or the examples of the template ``pipeline``.

    Raises BadInputError.
    """
    from penstock.seeds import SeedSource, open_seeds

    if name == EXAMPLE_SEEDS and not Path(name).exists():
        from penstock.settings import get_settings
        from penstock.templates import TemplateRegistry

        registry = TemplateRegistry(user_dir=get_settings().user_templates)
        examples = registry.example_seeds(pipeline)
        if not examples:
            raise BadInputError(f"'{pipeline}' has no example seeds; give a seed file.")
        return SeedSource.from_data(examples, name=f"examples of {pipeline}")
    return open_seeds(name)
