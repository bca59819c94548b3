"""A step: a block with its settings, its gates and the policy by which it is healed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.blocks.base import BaseMultiplierBlock
from penstock.blocks.registry import BlockRegistry
from penstock.discovery import read_names
from penstock.errors import DefinitionError, PipelineError, ValidationError
from penstock.gates import BaseGate, GateRegistry, HealPolicy, parts_named
from penstock.plain_values import NotPlainError, to_plain
from penstock.user_code import is_user_class, name_exception, safe_text, to_exception

MAX_SAMPLES = 100
"""The most samples of one step; a larger number is most likely a mistake."""


class Step:
    """One item of a pipeline's ``blocks``, ready to run; serves many records at once."""

    def __init__(
        self, number: int, definition: Mapping[str, Any], blocks: BlockRegistry, gates: GateRegistry
    ) -> None:
        """Make the block and the gates of ``definition``.

        Raises DefinitionError, BlockNotFoundError or GateNotFoundError when one of them cannot be made.
        """
        _refuse_malformed(number, definition)
        self.number = number
        self.type: str = definition["type"]
        self.label = f"Block '{self.type}' of step {number}"
        """What log lines call it."""
        self.config: dict[str, Any] = dict(definition.get("config") or {})
        self.block = blocks.create(self.type, self.config)
        self.outputs = read_names(self.block, "outputs", f"Step {number} ({self.type})")
        self.samples: int = definition.get("samples", 1)
        self.is_multiplier = isinstance(self.block, BaseMultiplierBlock) or self.block.is_multiplier
        """Whether the step makes several states out of one."""
        policy = definition.get("heal")
        self.policy = HealPolicy.from_config(policy) if policy is not None else None
        self.first_temperature = self.policy.first_temperature() if self.policy else None
        """The temperature of the first attempt; None leaves it to the block."""
        try:
            self.gates = self._make_gates(definition.get("gates") or [], gates)
        except PipelineError:
            raise
        except BaseException as error:  # users' gates, and the block's expects_schema
            raise DefinitionError(
                f"Step {number} ({self.type}) cannot be made: {name_exception(to_exception(error))}.",
                detail={"step": number},
            ) from error
        self.runs_user_code = any(is_user_class(type(part)) for part in (self.block, *self.gates))
        """Whether the block or a gate is not one of penstock's own."""
        self._declared = frozenset(self.outputs)

    def _make_gates(self, definitions: list[Mapping[str, Any]], registry: GateRegistry) -> list[BaseGate]:
        """The step's gates in the order in which they are asked."""
        gates = [registry.create(gate["type"], dict(gate.get("config") or {})) for gate in definitions]
        for gate in gates:
            self._refuse_foreign_parts(gate)
        self.schema_gate = self._make_schema_gate(
            registry, has_gates=bool(gates), types={gate["type"] for gate in definitions}
        )
        if self.schema_gate is not None:
            gates.insert(0, self.schema_gate)
        for gate in gates:
            gate.bind(self.outputs[0] if self.outputs else None)
        return sorted(gates, key=lambda gate: gate.cost)

    def _refuse_foreign_parts(self, gate: BaseGate) -> None:
        for part in parts_named(gate, self.outputs[0] if self.outputs else None):
            if part.split(".", 1)[0] not in self.outputs:
                raise DefinitionError(
                    f"Step {self.number} ({self.type}): {type(gate).__name__} looks at '{part}', which the "
                    f"step does not make; it makes {', '.join(self.outputs) or 'nothing'}.",
                    detail={"step": self.number, "gate": type(gate).__name__, "part": part},
                )

    def _make_schema_gate(
        self, registry: GateRegistry, *, has_gates: bool, types: set[str]
    ) -> BaseGate | None:
        """The gate for the schema that the block promises, in steps whose output is judged."""
        schema = self._read_schema()
        if schema is None or "JSONSchemaGate" in types or not (has_gates or self.policy):
            return None
        return registry.create("JSONSchemaGate", {"json_schema": schema, "part": self.outputs[0]})

    def _read_schema(self) -> Mapping[str, Any] | None:
        try:
            return self.block.expects_schema(self.config)
        except BaseException as error:  # a user's block
            raise DefinitionError(
                f"Step {self.number} ({self.type}): expects_schema failed: "
                f"{name_exception(to_exception(error))}.",
                detail={"step": self.number},
            ) from error

    def read_output(self, made: Any, place: str = "") -> dict[str, Any]:
        """What the block returned, as plain JSON values; ``place`` is where in its answer this is.

        Raises ValidationError when it holds fields that the block does not declare (contract A6), TypeError
        when it is no dict, and ValueError when a field has no form in JSON.
        """
        if not isinstance(made, dict):
            raise TypeError(f"execute must return a dict, not {safe_text(type(made).__name__, 60)}")
        if not made.keys() <= self._declared:
            self._refuse_undeclared(made)
        try:
            plain: dict[str, Any] = to_plain(made)
        except NotPlainError as error:
            raise ValueError(f"the output '{place}{error.place}' {error.reason}") from error
        return plain

    def _refuse_undeclared(self, made: dict[Any, Any]) -> None:
        extra = [safe_text(key, 100) for key in made if key not in self._declared]
        raise ValidationError(
            f"Block '{self.type}' returned undeclared fields: {', '.join(extra)}",
            detail={
                "block_type": self.type,
                "declared_outputs": self.outputs,
                "actual_outputs": [safe_text(key, 100) for key in made],
                "extra_fields": extra,
            },
        )

    def trace_entry(
        self, given: dict[str, Any], output: dict[str, Any], state: dict[str, Any], seconds: float = 0.0
    ) -> dict[str, Any]:
        """A trace entry without model calls: the states before and after, and what the step added."""
        return {
            "block_type": self.type,
            "input": given,
            "output": output,
            "accumulated_state": state,
            "execution_time": seconds,
        }


def _refuse_malformed(number: int, definition: Any) -> None:
    """Raise DefinitionError unless ``definition`` has the form of a step."""
    if not isinstance(definition, Mapping):
        raise DefinitionError(
            f"Step {number} is {definition!r:.60}; write a mapping such as {{type: TextGenerator}}.",
            detail={"step": number},
        )
    samples = definition.get("samples", 1)
    gates = definition.get("gates") or []
    is_gates = isinstance(gates, list | tuple) and all(_is_gate(gate) for gate in gates)
    requirements = {
        "type": (isinstance(definition.get("type"), str), "the name of a block"),
        "config": (isinstance(definition.get("config") or {}, Mapping), "a mapping of settings"),
        "gates": (is_gates, "a list of gates, each {type: …, config: …}"),
        "samples": (
            type(samples) is int and 1 <= samples <= MAX_SAMPLES,
            f"a whole number from 1 to {MAX_SAMPLES}",
        ),
    }
    for key, (is_met, expected) in requirements.items():
        if not is_met:
            raise DefinitionError(
                f"Step {number}: '{key}' must be {expected}.", detail={"step": number, "key": key}
            )


def _is_gate(gate: Any) -> bool:
    return (
        isinstance(gate, Mapping)
        and isinstance(gate.get("type"), str)
        and isinstance(gate.get("config") or {}, Mapping)
    )
