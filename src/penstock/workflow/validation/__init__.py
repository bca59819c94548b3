"""The static check: what is wrong with a pipeline, found before any model is asked.

``check`` reads a definition as the engine would, step by step, and keeps account of which fields exist at
each point. It makes the blocks and gates, as loading does, and runs none of them.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeGuard

from penstock.blocks.base import BaseBlock
from penstock.blocks.registry import BlockRegistry
from penstock.blocks.registry import default_registry as default_blocks
from penstock.discovery import extract_config_schema, find_config_issues
from penstock.entities import Constraints
from penstock.errors import BlockNotFoundError, GateNotFoundError, PipelineError, TemplateError
from penstock.gates import BaseGate, GateRegistry, HealPolicy
from penstock.gates import default_registry as default_gates
from penstock.template_renderer import CompiledTemplate, TemplateRenderer
from penstock.workflow.definition import MAX_DEPTH, MAX_NODES, SourceMap, load_definition

__all__ = ["Issue", "check", "load_definition", "required_variables"]

Path = tuple[str | int, ...]

_TOP_KEYS = ("name", "description", "blocks", "constraints", "validation_config")
_TOP_WORDS = {"steps": "blocks", "pipeline": "blocks", "limits": "constraints", "title": "name"}
_STEP_KEYS = ("type", "config", "gates", "heal", "samples")
_STEP_WORDS = {"block": "type", "settings": "config", "params": "config", "retry": "heal", "healing": "heal"}
_GATE_KEYS = ("type", "config")
_RANGES: dict[str, tuple[float, float, str]] = {
    "temperature": (0, 2, "between 0 and 2"),
    "top_p": (0, 1, "between 0 and 1"),
    "max_tokens": (1, math.inf, "at least 1"),
    "min_length": (0, math.inf, "0 or more"),
    "max_length": (0, math.inf, "0 or more"),
}
_SCHEMA_SETTINGS = ("json_schema", "schema")
_ENGINE_FIELDS = ("metadata",)


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong: where, what, and what to write instead.

    ``step`` and ``line`` count from 1; ``key`` is the path inside the step (``config.user_prompt``), or
    inside the definition when there is no step. An error keeps the pipeline from doing what it says; a
    warning is likely a slip.
    """

    message: str
    fix: str
    step: int | None = None
    block: str | None = None
    key: str | None = None
    line: int | None = None
    severity: Literal["error", "warning"] = "error"

    def to_dict(self) -> dict[str, Any]:
        """The problem as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        place = [f"line {self.line}"] if self.line is not None else []
        if self.step is not None:
            place.append(f"step {self.step}" + (f" ({self.block})" if self.block else ""))
        where = f"{', '.join(place)}: " if place else ""
        mark = "warning: " if self.severity == "warning" else ""
        return " ".join(f"{where}{mark}{self.message} {self.fix}".split())


def check(
    definition: Any,
    *,
    seeds: Sequence[Mapping[str, Any]] | None = None,
    blocks: BlockRegistry | None = None,
    gates: GateRegistry | None = None,
    source: str | None = None,
) -> list[Issue]:
    """Everything that is wrong with a pipeline, in the order in which it stands; empty when it is well.

    ``seeds`` are the variables of some seeds; without them every field that no step makes is taken to come
    from the seeds. ``source`` is the text of the definition, which gives the lines and shows duplicate keys.
    """
    run = _Check(blocks or default_blocks(), gates or default_gates(), seeds or None, source)
    run.check(definition)
    return run.problems


def required_variables(
    definition: Any, *, blocks: BlockRegistry | None = None, gates: GateRegistry | None = None
) -> list[str]:
    """The fields that a pipeline needs from its seeds, sorted."""
    run = _Check(blocks or default_blocks(), gates or default_gates(), None, None)
    run.check(definition)
    return sorted(run.required)


@dataclass(slots=True)
class _Place:
    """A step under check."""

    number: int
    block: str | None
    path: Path
    config: Mapping[str, Any]


class _Check:
    """One walk over a definition."""

    def __init__(
        self,
        blocks: BlockRegistry,
        gates: GateRegistry,
        seeds: Sequence[Mapping[str, Any]] | None,
        source: str | None,
    ) -> None:
        self.problems: list[Issue] = []
        self.required: set[str] = set()
        self._blocks = blocks
        self._gates = gates
        self._seeds = seeds
        self._source = SourceMap(source) if source is not None else None
        self._renderer = TemplateRenderer()
        self._made: dict[str, int] = {}
        """Fields that steps made so far, and which step did last."""
        self._later: dict[str, int] = {}
        """Fields that any step makes, and which does first."""
        self._consumed: set[str] = set()
        """Fields of the seed that a multiplier takes away."""
        self._shapes: dict[str, Mapping[str, Any]] = {}
        """JSON Schemas of fields, where they are known."""

    def _say(
        self,
        message: str,
        fix: str,
        *,
        place: _Place | None = None,
        path: Path = (),
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        full = (*place.path, *path) if place else path
        self.problems.append(
            Issue(
                message,
                fix,
                place.number if place else None,
                place.block if place else None,
                _show_path(path) or None,
                self._source.line(full) if self._source else None,
                severity,
            )
        )

    def check(self, definition: Any) -> None:
        if not isinstance(definition, Mapping):
            self._say("The pipeline is not a mapping.", "Write 'name: …' and 'blocks: […]'.")
            return
        if not self._is_plain(definition):
            return
        self._check_duplicates()
        name = definition.get("name")
        if not isinstance(name, str) or not name.strip():
            self._say("The pipeline has no name.", "Write 'name: …'.", path=("name",))
        self._check_constraints(definition.get("constraints"))
        steps = definition.get("blocks")
        self._check_names(definition, _TOP_KEYS, _TOP_WORDS, None, ())
        if not isinstance(steps, list | tuple):
            what = "has no blocks" if steps is None else "does not have a list under 'blocks'"
            self._say(f"The pipeline {what}.", "Write 'blocks:' and the steps as a list.", path=("blocks",))
            return
        if not steps:
            self._say("The pipeline has no blocks.", "Add at least one step to 'blocks'.", path=("blocks",))
        self._look_ahead(steps)
        self._check_multipliers(steps)
        for index, step in enumerate(steps):
            self._check_step(index, step)

    def _is_plain(self, definition: Mapping[Any, Any]) -> bool:
        """Whether the definition can be written as JSON at all; says where not."""
        waiting: list[tuple[Path, Any]] = [((), definition)]
        count = 0
        while waiting:
            path, value = waiting.pop()
            count += 1
            if count > MAX_NODES or len(path) > MAX_DEPTH:
                much = f"holds more than {MAX_NODES:,} values" if count > MAX_NODES else "is nested too deep"
                self._say(f"The pipeline {much}.", "Make it smaller.", path=path[:4])
                return False
            if isinstance(value, Mapping):
                for key, item in value.items():
                    if not isinstance(key, str):
                        self._say(f"The key {key!r} is not text.", "Put it in quotes.", path=path)
                        return False
                    waiting.append(((*path, key), item))
            elif isinstance(value, list | tuple):
                waiting.extend(((*path, index), item) for index, item in enumerate(value))
            elif not _is_scalar(value):
                self._say(
                    f"{_show_path(path)} is not a value that JSON knows.",
                    "Write text or a number.",
                    path=path,
                )
                return False
        return True

    def _check_duplicates(self) -> None:
        for twice in sorted(self._source.duplicates(), key=lambda twice: twice.line) if self._source else ():
            number = twice.path[1] if len(twice.path) > 2 and twice.path[0] == "blocks" else None
            place = _Place(number + 1, None, ("blocks", number), {}) if isinstance(number, int) else None
            self._say(
                f"The key '{twice.path[-1]}' is there twice (line {twice.first_line} and line {twice.line}); "
                "only the last one counts.",
                "Remove one of them.",
                place=place,
                path=twice.path[2:] if place else twice.path,
            )

    def _check_constraints(self, constraints: Any) -> None:
        if constraints is None:
            return
        if not isinstance(constraints, Mapping):
            self._say("'constraints' is not a mapping.", "Write limits by name.", path=("constraints",))
            return
        known = list(Constraints.model_fields)
        for name, limit in constraints.items():
            path = ("constraints", name)
            if name not in known:
                self._say(
                    f"There is no limit called '{name}'.", _nearest(name, known, "The limits are"), path=path
                )
            elif limit is None:
                continue
            elif not _is_number(limit) or (_whole(name) and not float(limit).is_integer()):
                kind = "a whole number" if _whole(name) else "a number"
                self._say(f"The limit {name} is {_quote(limit)}, not {kind}.", f"Write {kind}.", path=path)
            elif limit < -1:
                self._say(f"The limit {name} is {limit}.", "Write -1 for no limit.", path=path)

    def _check_names(
        self,
        given: Mapping[str, Any],
        known: Sequence[str],
        words: Mapping[str, str],
        place: _Place | None,
        path: Path,
    ) -> None:
        """Find slips in key names; keys that resemble none of ours are kept for whoever put them there."""
        for key in given:
            meant = words.get(key.lower()) or next(
                iter(difflib.get_close_matches(key.lower(), known, 1, 0.75)), None
            )
            if key in known or meant is None or (meant in given and key.lower() != meant):
                continue
            self._say(f"'{key}' means nothing here.", f"Write '{meant}'.", place=place, path=(*path, key))

    def _look_ahead(self, steps: Sequence[Any]) -> None:
        for number, step in enumerate(steps, start=1):
            cls = self._find_block(step) or BaseBlock
            for field in _names(cls.outputs):
                if field not in cls.inputs:
                    self._later.setdefault(field, number)

    def _find_block(self, step: Any) -> type[BaseBlock] | None:
        kind = step.get("type") if isinstance(step, Mapping) else None
        if not isinstance(kind, str):
            return None
        try:
            return self._blocks.get_class(kind)
        except BlockNotFoundError:
            return None

    def _check_multipliers(self, steps: Sequence[Any]) -> None:
        found = [
            (index, str(step["type"]))
            for index, step in enumerate(steps)
            if getattr(self._find_block(step), "is_multiplier", False)
        ]
        for order, (index, kind) in enumerate(found):
            place = _Place(index + 1, kind, ("blocks", index), {})
            if order:
                fix = f"Keep the one of step {found[0][0] + 1}."
                self._say("Only one multiplier block allowed per pipeline.", fix, place=place)
            elif index:
                self._say("Multiplier block must be first in pipeline.", "Move it to the top.", place=place)

    def _check_step(self, index: int, step: Any) -> None:
        place = _Place(index + 1, None, ("blocks", index), {})
        if not isinstance(step, Mapping):
            self._say("The step is not a mapping.", "Write 'type: …' and 'config: …'.", place=place)
            return
        kind = step.get("type")
        self._check_names(step, _STEP_KEYS, _STEP_WORDS, place, ())
        if not isinstance(kind, str) or not kind:
            self._say(
                "The step does not say which block it is.", "Write 'type: …'.", place=place, path=("type",)
            )
            return
        place.block = kind
        try:
            cls = self._blocks.get_class(kind)
        except BlockNotFoundError:
            self._say(
                f"Block '{kind}' not found.",
                _nearest(kind, self._blocks_known(), "There are"),
                place=place,
                path=("type",),
            )
            self._made.setdefault("*", 0)  # whatever later steps read may be what it makes
            return
        config = step.get("config")
        place.config = config if isinstance(config, Mapping) else {}
        self._check_misplaced_settings(step, cls, place)
        block = self._check_settings(cls, {} if config is None else config, place, ("config",))
        self._check_reads(cls, place)
        outputs = _names(getattr(block or cls, "outputs", ()))
        shape = self._shape_of(cls, block, place)
        before = dict(self._shapes)
        for field in outputs:
            self._shapes.pop(field, None)
        if shape is not None and outputs:
            self._shapes[outputs[0]] = shape
        self._check_gates(step, cls, outputs, place)
        self._check_heal(step, shape is not None, place)
        self._check_required_fields(
            cls, "_field_references", before, outputs, place.config, place, ("config",)
        )
        echoed = {field for field in outputs if field in cls.inputs}  # it has them only if they were there
        self._made.update(dict.fromkeys((field for field in outputs if field not in echoed), place.number))
        if cls.is_multiplier:
            self._consumed |= set(_names(getattr(block or cls, "consumes", ()))) - set(outputs)

    def _blocks_known(self) -> list[str]:
        return [str(schema.get("type")) for schema in self._blocks.list_schemas()]

    def _check_misplaced_settings(self, step: Mapping[str, Any], cls: type[BaseBlock], place: _Place) -> None:
        properties = _properties(cls)
        for key in step:
            if key in properties and key not in _STEP_KEYS:
                self._say(
                    f"'{key}' is a setting of the block and has no effect beside 'config'.",
                    f"Move '{key}' under 'config'.",
                    place=place,
                    path=(key,),
                )

    def _check_settings(self, cls: type[Any], config: Any, place: _Place, path: Path) -> Any:
        """Check a block's or gate's settings; returns it made, or None when it cannot be."""
        what = f"{'Gate' if issubclass(cls, BaseGate) else 'Block'} '{cls.__name__}'"
        before = len(self.problems)
        for fault in find_config_issues(cls, config, what):
            advice = fault.advice or _advice(fault.kind, fault.key, config)
            at = path if fault.key == "config" else (*path, fault.key)
            self._say(_sentence(fault.message), _sentence(advice), place=place, path=at)
        if not isinstance(config, Mapping):
            return None
        self._check_ranges(cls, config, place, path)
        for name in _SCHEMA_SETTINGS:
            if isinstance(config.get(name), Mapping):
                self._check_schema(config[name], place, (*path, name))
        if len(self.problems) > before:
            return None
        registry: Any = self._gates if issubclass(cls, BaseGate) else self._blocks
        try:
            return registry.create(cls.__name__, dict(config))
        except PipelineError as error:
            self._say(_sentence(error.message), "Change its settings.", place=place, path=path)
        return None

    def _check_ranges(self, cls: type[Any], config: Mapping[str, Any], place: _Place, path: Path) -> None:
        for name, (least, most, words) in _RANGES.items():
            value = config.get(name)
            if _is_number(value) and not least <= value <= most:
                self._say(f"{name} is {value}.", f"Write a number {words}.", place=place, path=(*path, name))
        merged = {**_defaults(cls), **config}
        for name in config:
            low_name, high_name = f"min_{name[4:]}", f"max_{name[4:]}"
            low, high = merged.get(low_name), merged.get(high_name)
            if name not in {low_name, high_name} or (name == high_name and low_name in config):
                continue  # said once a pair
            if _is_number(low) and _is_number(high) and low > high:
                self._say(
                    f"{low_name} is {low} and {high_name} is {high}, so nothing can pass.",
                    f"Make {low_name} at most {high_name}.",
                    place=place,
                    path=(*path, name),
                )

    def _check_schema(self, schema: Mapping[str, Any], place: _Place, path: Path) -> None:
        import jsonschema_rs

        try:
            jsonschema_rs.meta.validate(dict(schema))
        except jsonschema_rs.ValidationError as error:
            at: Path = tuple(error.instance_path)
            where = f" at {_show_path(at)}" if at else ""
            self._say(
                f"This is not a valid JSON Schema{where}: {_first_line(error.message)}.",
                "Write a schema as in https://json-schema.org.",
                place=place,
                path=(*path, *at),
            )
            return
        except Exception as error:  # of a '$schema' that is unknown
            self._say(
                f"The JSON Schema cannot be used: {_first_line(str(error))}.",
                "Leave '$schema' out.",
                place=place,
                path=path,
            )
            return
        for at, part in _walk(schema):
            self._check_schema_part(schema, part, place, (*path, *at))

    def _check_schema_part(
        self, schema: Mapping[str, Any], part: Mapping[str, Any], place: _Place, path: Path
    ) -> None:
        target = part.get("$ref")
        if isinstance(target, str) and path[-1] != "properties":
            if not target.startswith("#"):
                self._say(
                    f"The JSON Schema refers to another document, '{target}'.",
                    "Copy what is needed under '$defs' and refer to '#/$defs/…'.",
                    place=place,
                    path=(*path, "$ref"),
                )
            elif target.startswith("#/") and not _resolves(schema, target):
                self._say(
                    f"The JSON Schema refers to '{target}', which is not in it.",
                    "Correct the reference.",
                    place=place,
                    path=(*path, "$ref"),
                )
        properties, required = part.get("properties"), part.get("required")
        if isinstance(properties, Mapping) and isinstance(required, list | tuple) and properties:
            for name in required:
                if isinstance(name, str) and name not in properties:
                    self._say(
                        f"The JSON Schema requires '{name}' and does not describe it.",
                        _nearest(name, list(properties), "It describes"),
                        place=place,
                        path=(*path, "required"),
                    )

    def _check_reads(self, cls: type[BaseBlock], place: _Place) -> None:
        settings = {**_defaults(cls), **place.config}
        from_state = dict(getattr(cls, "_state_templates", {}))
        for name in dict.fromkeys((*getattr(cls, "_templates", ()), *from_state)):
            for path, text in _texts(settings.get(name), ("config", name)):
                self._check_template(text, place, path)
        for index, turn in enumerate(_listed(settings.get("examples"))):
            if isinstance(turn, Mapping) and isinstance(turn.get("user"), str):
                self._check_template(turn["user"], place, ("config", "examples", index, "user"))
        self._check_state_templates(settings, from_state, place)
        for name in getattr(cls, "_field_references", ()):
            for field in _names(settings.get(name)):
                self._need(field, place, ("config", name))
        self._check_inputs(cls, place)

    def _check_inputs(self, cls: type[BaseBlock], place: _Place) -> None:
        consumed = _names(getattr(cls, "consumes", ()))
        for field in consumed:
            self._need(field, place, ("type",))
        inputs = [field for field in _names(cls.inputs) if field not in consumed]
        if "*" in inputs or not inputs:
            return
        if len(inputs) == 1:
            self._need(inputs[0], place, ("type",))
        elif self._seeds is not None and not any(self._exists(field) for field in inputs):
            self._say(
                f"The block reads {' or '.join(inputs)}, and neither the seeds nor an earlier step have any.",
                f"Put one of them into the seeds; they have {_listing(self._fields())}.",
                place=place,
            )

    def _check_template(self, text: str, place: _Place, path: Path, seed: int | None = None) -> None:
        origin = f"Seed {seed}'s '{path[-1]}', a template, " if seed is not None else "The template "
        try:
            template: CompiledTemplate = self._renderer.compile(text)
            plain, inner = template.variables, template.metadata_variables
            optional = template.optional_variables
        except TemplateError as error:
            start = f"{origin}cannot be used" if seed is not None else "The template cannot be used"
            self._say(
                f"{start}: {_first_line(error.message)}.", "Correct the template.", place=place, path=path
            )
            return
        for name in sorted(plain - optional):
            self._need(name, place, path, f"{origin}reads")
        for name in sorted(inner):
            self._need(f"metadata.{name}", place, path, f"{origin}reads")

    def _check_state_templates(
        self,
        settings: Mapping[str, Any],
        from_state: Mapping[str, str],
        place: _Place,
    ) -> None:
        """Prompts that are left empty come from the state, and are templates there too (contract A76)."""
        empty = [
            field for setting, field in from_state.items() if not str(settings.get(setting) or "").strip()
        ]
        for field in empty:
            if field not in self._made and field not in self._consumed:
                for number, seed in enumerate(self._seeds or (), start=1):
                    if isinstance(seed.get(field), str):
                        self._check_template(seed[field], place, (field,), number)
        if not from_state or len(empty) < len(from_state):
            return
        if self._seeds is None:
            if len(empty) == 1 and not self._exists(empty[0]):
                self.required.add(empty[0])
            return
        without = [
            number for number in self._seed_numbers() if not any(self._exists(f, number) for f in empty)
        ]
        if without:
            who = "" if len(without) == len(self._seeds) else f" for seed {without[0]}"
            self._say(
                f"There is no prompt{who}: {' and '.join(from_state)} are empty, and there is no field "
                f"{' or '.join(empty)} to take their place.",
                f"Write '{list(from_state)[-1]}: …' under 'config'.",
                place=place,
                path=("config",),
            )

    def _seed_numbers(self) -> range:
        return range(1, len(self._seeds or ()) + 1)

    def _fields(self) -> list[str]:
        """Every field that exists at this point, as far as it is known."""
        seeded = {key for seed in self._seeds or () for key in seed} - self._consumed
        return sorted((seeded | self._made.keys()) - {"*"})

    def _exists(self, field: str, number: int | None = None) -> bool:
        """Whether ``field`` exists at this point, in seed ``number`` or in any."""
        if field in self._made or "*" in self._made or field in _ENGINE_FIELDS:
            return True
        if field in self._consumed:
            return False
        seeds = self._seeds or ()
        chosen = seeds if number is None else seeds[number - 1 : number]
        return any(field in seed for seed in chosen)

    def _need(self, field: str, place: _Place, path: Path, reads: str = "", own: Sequence[str] = ()) -> None:
        """Say so when ``field``, which may be a path inside one, does not exist at this point."""
        reads = (
            reads or f"{_show_path(path[1:]) or 'The block'} reads"
            if path != ("type",)
            else "The block reads"
        )
        top, _, rest = field.partition(".")
        if top == "metadata" and rest:
            self._need_seeded(rest.partition(".")[0], field, place, path, reads)
            return
        if field in self._made or field in own:
            return
        if top in self._made or top in own:
            self._check_inside(field, place, path, reads)
            return
        if "*" in self._made or top in _ENGINE_FIELDS:
            return
        later = self._later.get(top)
        if self._seeds is None:
            if later is not None and later > place.number:
                self._say(
                    f"{reads} '{top}', which step {later} makes, later.",
                    f"Move this step below step {later}, or see that the seeds have '{top}'.",
                    place=place,
                    path=path,
                    severity="warning",
                )
            self.required.add(top)
            return
        missing = [n for n in self._seed_numbers() if not (self._exists(top, n) or self._exists(field, n))]
        if missing:
            self._say_missing(top, missing, later, place, path, reads)

    def _say_missing(
        self, field: str, missing: list[int], later: int | None, place: _Place, path: Path, reads: str
    ) -> None:
        if len(missing) < len(self._seeds or ()):
            message, fix = (
                f"{reads} '{field}', which seed {missing[0]} does not have.",
                "Add it to that seed.",
            )
        elif later is not None and later > place.number:
            message = f"{reads} '{field}', which only step {later} makes, later."
            fix = f"Move this step below step {later}."
        elif later == place.number:
            message = f"{reads} '{field}', which only this step itself makes."
            fix = _nearest(field, self._fields(), "At this point there are")
        elif field in self._consumed:
            message = f"{reads} '{field}', which the multiplier has taken apart."
            fix = f"Use {_listing(sorted(self._made))}."
        else:
            message = f"{reads} '{field}', which neither the seeds nor an earlier step have."
            fix = _nearest(field, self._fields(), "At this point there are")
        self._say(message, fix, place=place, path=path)

    def _need_seeded(self, name: str, field: str, place: _Place, path: Path, reads: str) -> None:
        if self._seeds is None:
            self.required.add(name)
            return
        missing = [number for number, seed in enumerate(self._seeds, start=1) if name not in seed]
        if missing:
            whose = "no seed has" if len(missing) == len(self._seeds) else f"seed {missing[0]} does not have"
            names = sorted({key for seed in self._seeds for key in seed})
            self._say(
                f"{reads} '{field}', which {whose}.",
                _nearest(name, names, "Seeds have"),
                place=place,
                path=path,
            )

    def _check_inside(self, field: str, place: _Place, path: Path, reads: str) -> None:
        top, _, rest = field.partition(".")
        if rest and top in self._shapes and (lost := _lost_in(self._shapes[top], rest.split("."))):
            name, known = lost
            self._say(
                f"{reads} '{field}', and the JSON schema of '{top}' has no '{name}'.",
                _nearest(name, known, "It has"),
                place=place,
                path=path,
            )

    def _shape_of(self, cls: type[BaseBlock], block: Any, place: _Place) -> Mapping[str, Any] | None:
        """The JSON Schema that the block's first output follows, where it is known."""
        found = place.config.get("json_schema")
        expects = getattr(block, "expects_schema", None)
        if expects is not None:
            try:
                found = expects(dict(place.config))
            except Exception:  # somebody's own block; loading will tell
                found = None
        elif "json_schema" not in _properties(cls):
            found = None
        return found if isinstance(found, Mapping) else None

    def _check_required_fields(
        self,
        cls: type[Any],
        attribute: str,
        shapes: Mapping[str, Mapping[str, Any]],
        outputs: Sequence[str],
        config: Mapping[str, Any],
        place: _Place,
        path: Path,
    ) -> None:
        """Fields that a validator or gate insists on, held against the schema of what it looks at."""
        settings = {**_defaults(cls), **config}
        setting = next(iter(getattr(cls, attribute, ())), "")
        looked_at = _names(settings.get(setting))
        if attribute == "_part_references" and not looked_at:
            looked_at = list(outputs[:1])
        for field in looked_at[:1]:
            top, _, rest = field.partition(".")
            shape = _descend(shapes.get(top), rest.split(".") if rest else [])
            for name in _names(settings.get("required_fields")):
                if shape is not None and (lost := _lost_in(shape, [name])):
                    self._say(
                        f"It requires '{name}', which the JSON schema of '{field}' does not have.",
                        _nearest(name, lost[1], "It has"),
                        place=place,
                        path=(*path, "required_fields"),
                    )

    def _check_gates(
        self, step: Mapping[str, Any], cls: type[BaseBlock], outputs: Sequence[str], place: _Place
    ) -> None:
        gates = step.get("gates")
        self._check_samples(step, place)
        if gates is None:
            return
        if not isinstance(gates, list | tuple):
            self._say(
                "'gates' is not a list.", "Begin each gate with '- type: …'.", place=place, path=("gates",)
            )
            return
        if gates and cls.is_multiplier:
            self._say(
                "A multiplier's chunks do not pass gates.",
                "Put the gates on a later step.",
                place=place,
                path=("gates",),
            )
        for index, gate in enumerate(gates):
            self._check_gate(gate, outputs, step.get("samples", 1), place, ("gates", index))

    def _check_samples(self, step: Mapping[str, Any], place: _Place) -> None:
        samples = step.get("samples", 1)
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
            self._say(
                f"'samples' is {_quote(samples)}.",
                "Write a whole number from 1 on.",
                place=place,
                path=("samples",),
            )

    def _check_gate(self, gate: Any, outputs: Sequence[str], samples: Any, place: _Place, path: Path) -> None:
        if not isinstance(gate, Mapping) or not isinstance(gate.get("type"), str):
            self._say("The gate does not say which it is.", "Write '- type: …'.", place=place, path=path)
            return
        self._check_names(gate, _GATE_KEYS, {"gate": "type", "settings": "config"}, place, path)
        kind = gate["type"]
        try:
            cls = self._gates.get_class(kind)
        except GateNotFoundError:
            known = [str(schema.get("type")) for schema in self._gates.list_schemas()]
            self._say(
                f"Gate '{kind}' not found.",
                _nearest(kind, known, "There are"),
                place=place,
                path=(*path, "type"),
            )
            return
        for key in gate:
            if key in _properties(cls) and key not in _GATE_KEYS:
                message = f"'{key}' is a setting of the gate and has no effect beside 'config'."
                self._say(message, f"Move '{key}' under 'config'.", place=place, path=(*path, key))
        config = gate.get("config")
        at = (*path, "config")
        self._check_settings(cls, {} if config is None else config, place, at)
        settings = {**_defaults(cls), **(config if isinstance(config, Mapping) else {})}
        self._check_parts(cls, settings, outputs, place, at)
        for name in getattr(cls, "_field_references", ()):
            for field in _names(settings.get(name)):
                self._need(field, place, (*at, name), f"{kind}'s {name} reads", own=outputs)
        self._check_required_fields(cls, "_part_references", self._shapes, outputs, settings, place, at)
        if kind == "SimilarityGate" and samples == 1:
            self._say(
                "SimilarityGate compares samples, and the step makes one, so the gate never finds anything.",
                "Write 'samples: 3' on the step.",
                place=place,
                path=path,
                severity="warning",
            )

    def _check_parts(
        self,
        cls: type[BaseGate],
        settings: Mapping[str, Any],
        outputs: Sequence[str],
        place: _Place,
        path: Path,
    ) -> None:
        kind = cls.__name__
        for name in getattr(cls, "_part_references", ()):
            parts = _names(settings.get(name))
            if name == "part" and not parts and not outputs:
                self._say(
                    f"{kind} has nothing to look at: the step makes no output.",
                    "Remove it.",
                    place=place,
                    path=path,
                )
            for part in parts:
                top = part.partition(".")[0]
                if part in outputs:
                    continue
                if top in outputs:
                    self._check_inside(part, place, (*path, name), f"{kind} looks at")
                    continue
                maker = self._made.get(top)
                fix = f"Put the gate on step {maker}." if maker else _nearest(part, outputs, "The step makes")
                self._say(
                    f"{kind} looks at '{part}', which the step does not make.",
                    fix,
                    place=place,
                    path=(*path, name),
                )

    def _check_heal(self, step: Mapping[str, Any], has_schema: bool, place: _Place) -> None:
        heal = step.get("heal")
        if heal is None:
            return
        if not isinstance(heal, Mapping):
            self._say(
                "'heal' is not a mapping.", "Write 'heal: {max_attempts: 4}'.", place=place, path=("heal",)
            )
            return
        if not step.get("gates") and not has_schema:
            self._say(
                "There is nothing to heal: the step has no gates.",
                "Add 'gates', or remove 'heal'.",
                place=place,
                path=("heal",),
                severity="warning",
            )
        try:
            HealPolicy.from_config(heal)
        except PipelineError as error:
            what, _, instead = error.message.partition("; ")
            at = str(error.detail.get("key", "")).removeprefix("heal").strip(".")
            path: Path = ("heal", *(part for part in at.split(".") if part))
            self._say(_sentence(what), _sentence(instead or "Change 'heal'"), place=place, path=path)


def _properties(cls: type[Any]) -> Mapping[str, Any]:
    """The settings of a block or gate, as JSON Schema."""
    try:
        properties: Mapping[str, Any] = extract_config_schema(cls)["properties"]
    except Exception:  # a slip in somebody's class attributes; the registry keeps it among its errors
        return {}
    return properties


def _defaults(cls: type[Any]) -> dict[str, Any]:
    return {name: part["default"] for name, part in _properties(cls).items() if "default" in part}


def _names(value: Any) -> list[str]:
    """Field names, of a setting that holds one or several."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, list | tuple):
        return [name for name in value if isinstance(name, str) and name]
    return []


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Every text inside a setting, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))


def _walk(schema: Any, path: Path = ()) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    if isinstance(schema, Mapping):
        yield path, schema
        for key, item in schema.items():
            if key not in {"enum", "const", "default", "examples"}:
                yield from _walk(item, (*path, key))
    elif isinstance(schema, list | tuple):
        for index, item in enumerate(schema):
            yield from _walk(item, (*path, index))


def _resolves(schema: Mapping[str, Any], pointer: str) -> bool:
    node: Any = schema
    for part in pointer[2:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, Mapping) and name in node:
            node = node[name]
        elif isinstance(node, list | tuple) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        else:
            return False
    return True


def _descend(shape: Any, parts: Sequence[str]) -> Mapping[str, Any] | None:
    """The schema of what lies at ``parts`` inside ``shape``; None when it is not known."""
    for part in parts:
        if not isinstance(shape, Mapping):
            return None
        if part.isdecimal():
            shape = shape.get("items")
        else:
            properties = shape.get("properties")
            shape = properties.get(part) if isinstance(properties, Mapping) else None
    return shape if isinstance(shape, Mapping) else None


def _lost_in(shape: Mapping[str, Any], parts: Sequence[str]) -> tuple[str, list[str]] | None:
    """The first of ``parts`` that ``shape`` does not have, and what it has there; None when all may exist."""
    node: Any = shape
    for part in parts:
        if not isinstance(node, Mapping) or node.keys() & {"$ref", "anyOf", "oneOf", "allOf", "if"}:
            return None
        properties = node.get("properties")
        if part.isdecimal() and not isinstance(properties, Mapping):
            node = node.get("items")
        elif not isinstance(properties, Mapping):
            return None
        elif part in properties:
            node = properties[part]
        else:
            return part, [str(name) for name in properties]
    return None


def _is_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | bool | int)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(limit: str) -> bool:
    return limit.endswith("_tokens")


def _nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    known = [each for each in known if each]
    folded = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), folded, 1, 0.6)
    if close and folded[close[0]] != name:
        return f"Did you mean '{folded[close[0]]}'?"
    return f"{otherwise} {_listing(known)}."


def _listing(names: Sequence[str]) -> str:
    if not names:
        return "none"
    shown = ", ".join(str(name) for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown


def _advice(kind: str, key: str, config: Any) -> str:
    value = config.get(key) if isinstance(config, Mapping) else None
    if kind == "type" and isinstance(value, str) and value:
        return f"Write '{key}: [{value}]' if a list is due, or the value without quotes"
    return "Write it in that form"


def _quote(value: Any) -> str:
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _first_line(text: str) -> str:
    line = " ".join(text.split())
    return (line if len(line) <= 200 else line[:197] + "…").rstrip(".")


def _sentence(text: str) -> str:
    text = _first_line(text)
    if text.partition(" ")[0].isalpha():  # a setting's name stays as it is
        text = text[:1].upper() + text[1:]
    return text if text.endswith(("?", "!", "…")) else f"{text}."


def _show_path(path: Path) -> str:
    shown = ""
    for part in path:
        shown += f"[{part}]" if isinstance(part, int) else f".{part}" if shown else str(part)
    return shown
