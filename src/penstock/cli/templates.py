"""``penstock templates``."""

from __future__ import annotations

import click

from penstock.cli.output import json_option, print_json, print_result, shorten
from penstock.control_characters import escape_controls
from penstock.errors import BadInputError

_EXAMPLES = """\b
Examples:
  penstock templates
  penstock templates fact_questions > my_pipeline.yaml
"""


@click.command(epilog=_EXAMPLES)
@click.argument("name", required=False)
@json_option
def templates(name: str | None, as_json: bool) -> None:
    """List the ready-made pipelines; or print NAME as YAML, as a start for your own."""
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
            print_result(f"{template['id']:<22}{template['description']}")
        return
    definition = registry.get_template(name)
    if definition is None:
        from penstock.workflow.validation.messages import suggest

        known = [template["id"] for template in registry.list_templates()]
        raise BadInputError(f"There is no template '{shorten(name)}'. {suggest(name, known, 'There are')}")
    if as_json:
        print_json(definition)
    else:
        text = yaml.safe_dump(definition, sort_keys=False, allow_unicode=True, width=100)
        if escape_controls(text) != text:  # YAML has escapes of its own, which keep the definition as it is
            text = yaml.safe_dump(definition, sort_keys=False, width=100)
        print_result(text, nl=False)
