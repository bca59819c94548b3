"""Find the pipelines and seeds that the arguments of a command name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.output import print_message, shorten
from penstock.errors import BadInputError

if TYPE_CHECKING:
    from penstock.seeds import SeedFormat, SeedSource
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
        from penstock.workflow.validation.messages import suggest

        known = suggest(name, (template["id"] for template in registry.list_templates()), "Templates:")
        raise BadInputError(f"There is no file and no template '{shorten(name)}'. {known}")
    return definition, None


def load_pipeline(name: str) -> Pipeline:
    """The pipeline in a file or of a template; raises DefinitionError or BadInputError."""
    from penstock.workflow import Pipeline
    from penstock.workflow.definition import refuse_duplicate_keys

    definition, text = find_definition(name)
    if text is not None:
        refuse_duplicate_keys(text, Path(name).name)
    return Pipeline.load_from_dict(definition)


def seed_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that reads a seed file, for ``load_seeds``."""
    for option in (
        click.option("--separator", help="What separates the cells of a CSV file; by default it is found."),
        click.option(
            "--seed-format",
            type=click.Choice(["json", "jsonl", "csv", "parquet", "md"]),
            help="The format of SEEDS; by default that of the file's name or first bytes.",
        ),
    ):
        command = option(command)
    return command


def load_seeds(
    name: str,
    pipeline: str,
    *,
    seed_format: SeedFormat | None = None,
    separator: str | None = None,
    limit: int | None = None,
    is_known: Callable[[str], bool] | None = None,
) -> SeedSource:
    """The seeds of a file, of standard input (``-``), or the examples of the template ``pipeline``.

    Notes on how the file is read are printed. With ``limit`` only so many records are wanted; for
    ``is_known`` see ``open_seeds``. Raises BadInputError.
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
    seeds = open_seeds(name, format=seed_format, separator=separator, limit=limit, is_known=is_known)
    for note in seeds.notes:
        print_message(note)
    return seeds
