"""What the child process does, see ``in_child``."""

from __future__ import annotations

import json
import pickle
from functools import lru_cache

from penstock.errors import TemplateError
from penstock.template_renderer.limits import LARGE
from penstock.template_renderer.sandbox import Program, compile_program


def answer(request: bytes) -> bytes:
    """The text of one rendering, or the error, as JSON."""
    try:
        source, context, metadata = pickle.loads(request)  # noqa: S301  see in_child
        found = {"text": _compile(source).render(context, metadata, LARGE)}
    except TemplateError as error:
        found = {"message": error.message}
    except MemoryError:
        found = {"message": "template exceeds a limit: it takes too much memory"}
    except Exception as error:  # a value that cannot be read without the user's code
        found = {"message": f"template error: {type(error).__name__}: {error}"}
    return json.dumps(found).encode()


@lru_cache(maxsize=16)
def _compile(source: str) -> Program:
    return compile_program(source)
