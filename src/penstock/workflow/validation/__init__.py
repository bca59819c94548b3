"""Static validation: what is wrong with a pipeline, found before any model is asked.

``validate`` reads a definition as the engine would, step by step, and follows which fields exist at each
point. It makes the blocks and gates, as loading does, and runs none of them.
"""

from __future__ import annotations

from penstock.workflow.validation.issues import Issue
from penstock.workflow.validation.validator import required_variables, validate

__all__ = ["Issue", "required_variables", "validate"]
