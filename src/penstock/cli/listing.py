"""``penstock blocks`` and ``penstock templates``."""

from __future__ import annotations

import sys
from typing import Any

import click

from penstock.cli.output import FOUND, json_option, print_json, say
from penstock.errors import BadInputError

_BLOCK_EXAMPLES = """\b
Examples:
  penstock blocks
  penstock blocks StructuredGenerator
  penstock blocks RegexGate --json
"""

_TEMPLATE_EXAMPLES = """\b
Examples:
  penstock templates
  penstock templates fact_questions > my_pipeline.yaml
"""


@click.command(epilog=_BLOCK_EXAMPLES)
@click.argument("name", required=False)
@json_option
def blocks(name: str | None, as_json: bool) -> None:
    """List the blocks and gates there are, yours in user_blocks/ included; or show NAME with its settings."""
    from penstock.blocks.registry import default_registry as default_blocks
    from penstock.gates import default_registry as default_gates

    block_registry, gate_registry = default_blocks(), default_gates()
    found = {"blocks": block_registry.list_schemas(), "gates": gate_registry.list_schemas()}
    errors = [*block_registry.errors, *(e for e in gate_registry.errors if e not in block_registry.errors)]
    if name is not None:
        found = {kind: [one for one in schemas if one["type"] == name] for kind, schemas in found.items()}
        if not any(found.values()):
            raise BadInputError(f"There is no block or gate '{name}'; `penstock blocks` lists them.")
    if as_json:
        print_json({**found, "errors": errors})
    elif name is not None:
        for schemas in found.values():
            for schema in schemas:
                _show(schema)
    else:
        for kind, schemas in found.items():
            click.echo(f"{kind.capitalize()}:")
            for schema in schemas:
                click.echo(f"  {schema['type']:<26}{schema['description']}")
    for error in errors:
        say(f"Not loaded: {error['file']}: {error['error']}")
    sys.exit(FOUND if errors else 0)


@click.command(epilog=_TEMPLATE_EXAMPLES)
@click.argument("name", required=False)
@json_option
def templates(name: str | None, as_json: bool) -> None:
    """List the ready-made pipelines; or print NAME as YAML, to be edited."""
    import yaml

    from penstock.settings import get_settings
    from penstock.templates import TemplateRegistry

    registry = TemplateRegistry(user_dir=get_settings().user_templates)
    if name is None:
        listed = registry.list_templates()
        if as_json:
            print_json(listed)
            return
        for template in listed:
            click.echo(f"{template['id']:<22}{template['description']}")
        return
    definition = registry.get_template(name)
    if definition is None:
        raise BadInputError(f"There is no template '{name}'; `penstock templates` lists them.")
    if as_json:
        print_json(definition)
    else:
        click.echo(yaml.safe_dump(definition, sort_keys=False, allow_unicode=True, width=100), nl=False)


def _show(schema: dict[str, Any]) -> None:
    click.echo(f"{schema['type']}: {schema['description']}")
    for kind in ("inputs", "outputs"):
        if schema.get(kind):
            click.echo(f"  {kind}: {', '.join(schema[kind])}")
    settings = schema["config_schema"]["properties"]
    required = schema["config_schema"]["required"]
    if settings:
        click.echo("  settings:")
    for name, facts in settings.items():
        kind = " | ".join(map(str, facts["enum"])) if "enum" in facts else facts.get("type", "anything")
        default = "required" if name in required else f"default {facts.get('default')!r}"
        description = f"  {facts['description']}" if facts.get("description") else ""
        click.echo(f"    {name} ({kind}, {default}){description}")
