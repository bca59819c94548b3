"""Renderings that need more than the small budget, in a child process with the large one."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from typing import Any

from penstock.errors import TemplateError
from penstock.stoppable import ChildProcess, NotFinishedError

SECONDS = 10.0
"""Of one rendering, which stops itself after a second of processor time: the machine may be busy."""

child = ChildProcess("penstock.template_renderer.child_answers", SECONDS)


def render_in_child(source: str, context: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """The text of a template; raises TemplateError. Waits, so it is for threads."""
    names = {name: value for name, value in context.items() if isinstance(name, str) and name in source}
    seed = dict(metadata) if "metadata" in source else {}
    detail = {"template": source[:500]}
    try:
        request = pickle.dumps((source, names, seed))
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError) as error:
        message = "template exceeds a limit: it needs more work than values that are no JSON may cost"
        raise TemplateError(message, detail=detail) from error
    try:
        answer = json.loads(child.ask(request))
    except NotFinishedError as error:
        raise TemplateError(f"template exceeds a limit: {error}", detail=detail) from error
    if "text" in answer:
        return str(answer["text"])
    raise TemplateError(answer["message"], detail=detail)
