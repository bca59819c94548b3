"""What the checks of one validation share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.blocks.base import BaseBlock
from penstock.blocks.registry import BlockRegistry
from penstock.errors import BlockNotFoundError
from penstock.gates import GateRegistry
from penstock.settings import Settings
from penstock.workflow.validation.fields import FieldTracker
from penstock.workflow.validation.issues import IssueList, StepPlace


@dataclass(slots=True)
class StepInfo(StepPlace):
    """A step whose block is known."""

    definition: Mapping[str, Any] = field(default_factory=dict)
    cls: type[BaseBlock] = BaseBlock
    config: Mapping[str, Any] = field(default_factory=dict)
    """Its settings; empty when ``config`` is not a mapping."""
    outputs: Sequence[str] = ()


@dataclass(slots=True)
class ValidationContext:
    """The registries, the issues found so far, and the fields that exist so far."""

    blocks: BlockRegistry
    gates: GateRegistry
    issues: IssueList
    fields: FieldTracker
    settings: Settings

    def find_block(self, step: Any) -> type[BaseBlock] | None:
        """The class of the block that a step names; None when there is no such block."""
        kind = step.get("type") if isinstance(step, Mapping) else None
        if not isinstance(kind, str):
            return None
        try:
            return self.blocks.get_class(kind)
        except BlockNotFoundError:
            return None
