"""``penstock blocks``."""

from __future__ import annotations

import sys
from typing import Any

import click

from penstock.cli.output import ExitStatus, json_option, print_json, print_message, print_result, shorten
from penstock.errors import BadInputError

_EXAMPLES = """\b
Examples:
  penstock blocks
  penstock blocks StructuredGenerator
  penstock blocks RegexGate --json
"""


@click.command(epilog=_EXAMPLES)
@click.argument("name", required=False)
@json_option
def blocks(name: str | None, as_json: bool) -> None:
    """List the blocks and gates, those in user_blocks/ included; or show NAME with its settings."""
    from penstock.blocks.registry import default_registry as default_blocks
    from penstock.gates import default_registry as default_gates
    from penstock.workflow.validation.messages import suggest

    block_registry, gate_registry = default_blocks(), default_gates()
    found = {"blocks": block_registry.list_schemas(), "gates": gate_registry.list_schemas()}
    errors = [*block_registry.errors, *(e for e in gate_registry.errors if e not in block_registry.errors)]
    if name is not None:
        known = [schema["type"] for schemas in found.values() for schema in schemas]
        for kind, schemas in found.items():
            found[kind] = [schema for schema in schemas if schema["type"] == name]
        if not any(found.values()):
            advice = suggest(name, known, "There are")
            raise BadInputError(f"There is no block or gate '{shorten(name)}'. {advice}")
    if as_json:
        print_json({**found, "errors": errors})
    elif name is not None:
        for schema in [*found["blocks"], *found["gates"]]:
            _show_schema(schema)
    else:
        for kind, schemas in found.items():
            print_result(f"{kind.capitalize()}:")
            for schema in schemas:
                print_result(f"  {schema['type']:<26}{schema['description']}")
    for error in errors:
        print_message(f"Not loaded: {error['file']}: {error['error']}")
    sys.exit(ExitStatus.INCOMPLETE if errors else ExitStatus.OK)


def _show_schema(schema: dict[str, Any]) -> None:
    print_result(f"{schema['type']}: {schema['description']}")
    for kind in ("inputs", "outputs"):
        if schema.get(kind):
            print_result(f"  {kind}: {', '.join(schema[kind])}")
    settings = schema["config_schema"]["properties"]
    required = schema["config_schema"]["required"]
    if settings:
        print_result("  settings:")
    for name, setting in settings.items():
        kind = " | ".join(map(str, setting["enum"])) if "enum" in setting else setting.get("type", "anything")
        default = "required" if name in required else f"default {setting.get('default')!r}"
        description = f"  {setting['description']}" if setting.get("description") else ""
        print_result(f"    {name} ({kind}, {default}){description}")
