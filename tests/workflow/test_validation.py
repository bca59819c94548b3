"""The static check: thirty mistakes and more, each found before any model is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock.templates
from penstock.blocks.base import BaseBlock
from penstock.blocks.registry import BlockRegistry
from penstock.errors import DefinitionError, PipelineError
from penstock.seeds import SeedSource
from penstock.workflow.pipeline import Pipeline
from penstock.workflow.definition import load_definition
from penstock.workflow.validation import Issue, required_variables, validate

SEEDS = [{"content": "Bees make honey.", "topic": "bees"}, {"content": "Cats purr.", "topic": "cats"}]

SCHEMA = """
          type: object
          properties: {title: {type: string}, answer: {type: string}}
          required: [title, answer]
"""

TEXT = "{type: TextGenerator, config: {user_prompt: 'About {{ topic }}'}}"
STRUCTURED = (
    "type: StructuredGenerator\n    config: {user_prompt: '{{ content }}', json_schema: {type: object, "
    "properties: {title: {type: string}, answer: {type: string}}}}"
)
HELD = (
    "type: TextGenerator\n    config: {user_prompt: x}\n    gates: [{type: RegexGate, config: {pattern: x}}]"
)
PLAIN = "type: TextGenerator\n    config: {user_prompt: x}"


def steps(*entries: str, more: str = "") -> str:
    return "name: Test\nblocks:\n" + "".join(f"  - {entry}\n" for entry in entries) + more


def find(text: str, seeds: list[dict[str, Any]] | None = SEEDS) -> list[Issue]:
    definition, source = load_definition(text + "\n")
    return validate(definition, seeds=seeds, source=source)


MISTAKES: list[tuple[str, str, int | None, str]] = [
    ("empty name", "name: ''\nblocks: [" + TEXT + "]", None, "no name"),
    ("no blocks", "name: x\nblocks: []", None, "no blocks"),
    ("blocks left out", "name: x\ndescription: y", None, "no blocks"),
    ("blocks as a mapping", "name: x\nblocks: {type: TextGenerator}", None, "does not have a list"),
    ("steps for blocks", "name: x\nsteps: []", None, "'steps' means nothing here. Write 'blocks'"),
    (
        "unknown block",
        steps("type: TextGenrator"),
        1,
        "Block 'TextGenrator' not found. Did you mean 'TextGenerator'?",
    ),
    ("step without a type", steps(TEXT, "config: {}"), 2, "does not say which block"),
    ("step that is text", steps("TextGenerator"), 1, "not a mapping"),
    (
        "unknown setting",
        steps("{type: TextGenerator, config: {user_promt: hi, user_prompt: x}}"),
        1,
        "user_promt",
    ),
    ("missing setting", steps("{type: StructuredGenerator, config: {user_prompt: hi}}"), 1, "'json_schema'"),
    (
        "number as text",
        steps("{type: TextGenerator, config: {user_prompt: x, temperature: hot}}"),
        1,
        "a number",
    ),
    (
        "text where a list is due",
        steps(TEXT, "{type: JSONValidatorBlock, config: {required_fields: title}}"),
        2,
        "Write 'required_fields: [title]'",
    ),
    (
        "choice that is none",
        steps(TEXT, "{type: RougeScore, config: {reference_field: topic, rouge_type: rouge9}}"),
        2,
        "rougeL",
    ),
    (
        "setting beside config",
        steps("{type: TextGenerator, temperature: 0.1, config: {user_prompt: x}}"),
        1,
        "Move 'temperature' under 'config'",
    ),
    ("config that is a list", steps("{type: TextGenerator, config: [x]}"), 1, "must be a mapping"),
    (
        "temperature out of reach",
        steps("{type: TextGenerator, config: {user_prompt: x, temperature: 7}}"),
        1,
        "temperature is 7",
    ),
    (
        "no tokens",
        steps("{type: TextGenerator, config: {user_prompt: x, max_tokens: 0}}"),
        1,
        "max_tokens is 0",
    ),
    (
        "lengths crossed",
        steps(TEXT, "{type: ValidatorBlock, config: {min_length: 9, max_length: 3}}"),
        2,
        "min_length is 9 and max_length is 3",
    ),
    ("template syntax", steps("{type: TextGenerator, config: {user_prompt: '{% if %}'}}"), 1, "syntax error"),
    (
        "unknown variable",
        steps("{type: TextGenerator, config: {user_prompt: '{{ topc }}'}}"),
        1,
        "reads 'topc', which neither the seeds nor an earlier step have. Did you mean 'topic'?",
    ),
    (
        "unknown metadata",
        steps("{type: TextGenerator, config: {user_prompt: '{{ metadata.tpic }}'}}"),
        1,
        "Did you mean 'topic'?",
    ),
    (
        "variable of a later step",
        steps("{type: TextGenerator, config: {user_prompt: '{{ generated }}'}}", STRUCTURED),
        1,
        "only step 2 makes, later",
    ),
    ("field read before it is made", steps("type: CoherenceScore", TEXT), 1, "only step 2 makes, later"),
    (
        "field nobody makes",
        steps(TEXT, "{type: DiversityScore, config: {field_name: assistent}}"),
        2,
        "Did you mean 'assistant'?",
    ),
    ("reference nobody has", steps(TEXT, "type: RougeScore"), 2, "reference"),
    ("no prompt", steps("type: TextGenerator"), 1, "no prompt"),
    ("nothing to validate", steps("type: ValidatorBlock"), 1, "reads text or assistant"),
    (
        "gate for gates",
        steps("{type: TextGenerator, config: {user_prompt: x}, gate: []}"),
        1,
        "Write 'gates'",
    ),
    (
        "unknown gate",
        steps("{type: TextGenerator, config: {user_prompt: x}, gates: [{type: RegexpGate}]}"),
        1,
        "Did you mean 'RegexGate'?",
    ),
    (
        "unknown gate setting",
        steps(PLAIN + "\n    gates: [{type: RegexGate, config: {patern: x, pattern: y}}]"),
        1,
        "patern",
    ),
    (
        "gate without its setting",
        steps("{type: TextGenerator, config: {user_prompt: x}, gates: [{type: RegexGate}]}"),
        1,
        "'pattern'",
    ),
    (
        "gates as a mapping",
        steps("{type: TextGenerator, config: {user_prompt: x}, gates: {type: RegexGate}}"),
        1,
        "'gates' is not a list",
    ),
    (
        "gate on another step's part",
        steps(TEXT, STRUCTURED + ("\n    gates: [{type: RegexGate, config: {pattern: x, part: assistant}}]")),
        2,
        "Put the gate on step 1",
    ),
    (
        "gate on a part that is not in the schema",
        steps(STRUCTURED + ("\n    gates: [{type: RegexGate, config: {pattern: x, part: generated.titel}}]")),
        1,
        "Did you mean 'title'?",
    ),
    (
        "broken pattern",
        steps(PLAIN + "\n    gates: [{type: RegexGate, config: {pattern: '('}}]"),
        1,
        "",
    ),
    (
        "gate that requires what the schema lacks",
        steps(STRUCTURED + ("\n    gates: [{type: JSONFieldsGate, config: {required_fields: [titel]}}]")),
        1,
        "requires 'titel'",
    ),
    (
        "validator that requires what the schema lacks",
        steps(
            STRUCTURED,
            ("{type: JSONValidatorBlock, config: {field_name: generated, required_fields: [body]}}"),
        ),
        2,
        "requires 'body'",
    ),
    (
        "no attempts",
        steps(HELD + "\n    heal: {max_attempts: 0}"),
        1,
        "max_attempts",
    ),
    (
        "unknown entropy",
        steps(HELD + "\n    heal: {entropy: {kind: rampe}}"),
        1,
        "ramp",
    ),
    (
        "temperature of healing out of reach",
        steps(HELD + "\n    heal: {entropy: {kind: schedule, temperatures: [0, 3]}}"),
        1,
        "between 0 and 2",
    ),
    (
        "unknown setting of healing",
        steps(HELD + "\n    heal: {attempts: 3}"),
        1,
        "attempts",
    ),
    (
        "healing without gates",
        steps("{type: TextGenerator, config: {user_prompt: x}, heal: {max_attempts: 3}}"),
        1,
        "nothing to heal",
    ),
    ("no samples", steps("{type: TextGenerator, config: {user_prompt: x}, samples: 0}"), 1, "'samples' is 0"),
    (
        "similarity of one sample",
        steps("{type: TextGenerator, config: {user_prompt: x}, gates: [{type: SimilarityGate}]}"),
        1,
        "compares samples",
    ),
    (
        "multiplier second",
        steps(TEXT, "type: MarkdownMultiplierBlock"),
        2,
        "Multiplier block must be first in pipeline",
    ),
    (
        "two multipliers",
        steps("type: MarkdownMultiplierBlock", "type: MarkdownMultiplierBlock"),
        2,
        "Only one multiplier block allowed per pipeline",
    ),
    (
        "multiplier without its document",
        steps(
            "type: MarkdownMultiplierBlock", ("{type: TextGenerator, config: {user_prompt: '{{ content }}'}}")
        ),
        1,
        "file_content",
    ),
    ("limit below -1", steps(TEXT, more="constraints: {max_total_tokens: -2}"), None, "-1 for no limit"),
    ("limit as text", steps(TEXT, more="constraints: {max_total_tokens: many}"), None, "a whole number"),
    ("unknown limit", steps(TEXT, more="constraints: {max_tokens_total: 5}"), None, "no limit called"),
    ("constraints as a list", steps(TEXT, more="constraints: [5]"), None, "not a mapping"),
    (
        "schema that is none",
        steps("{type: StructuredGenerator, config: {user_prompt: x, json_schema: {type: objekt}}}"),
        1,
        "not a valid JSON Schema",
    ),
    (
        "schema that requires what it lacks",
        steps(
            "{type: StructuredGenerator, config: {user_prompt: x, json_schema: "
            "{type: object, properties: {a: {type: string}}, required: [b]}}}"
        ),
        1,
        "requires 'b'",
    ),
    (
        "schema elsewhere",
        steps(
            "{type: StructuredGenerator, config: {user_prompt: x, json_schema: {$ref: 'https://example.org/s'}}}"
        ),
        1,
        "another document",
    ),
    (
        "schema reference to nothing",
        steps("{type: StructuredGenerator, config: {user_prompt: x, json_schema: {$ref: '#/$defs/a'}}}"),
        1,
        "which is not in it",
    ),
    ("key twice", steps("{type: TextGenerator, config: {user_prompt: a, user_prompt: b}}"), 1, "there twice"),
    ("block twice", "name: a\nname: b\nblocks: [" + TEXT + "]", None, "there twice"),
]


@pytest.mark.row("A11", "A33", "A34", "A44", "A52", "A72", "A73", "A79")
@pytest.mark.parametrize(
    ("text", "step", "words"), [each[1:] for each in MISTAKES], ids=[each[0] for each in MISTAKES]
)
def test_a_mistake_is_found_at_its_step(text: str, step: int | None, words: str) -> None:
    problems = find(text)

    assert any(problem.step == step and words in str(problem) for problem in problems), list(
        map(str, problems)
    )
    assert all(problem.fix and problem.line for problem in problems)


@pytest.mark.parametrize("text", [each[1] for each in MISTAKES], ids=[each[0] for each in MISTAKES])
def test_a_mistake_is_reported_once(text: str) -> None:
    places = [(problem.step, problem.key, problem.message) for problem in find(text)]

    assert len(places) == len(set(places))
    assert len(places) <= 3, places


def test_there_are_thirty_mistakes_at_the_least() -> None:
    assert len(MISTAKES) >= 30


GOOD = {
    "text": steps(TEXT, "type: DiversityScore", "type: ValidatorBlock"),
    "optional": steps("{type: TextGenerator, config: {user_prompt: \"{{ nick | default('you') }}\"}}"),
    "loop": steps("{type: TextGenerator, config: {user_prompt: '{% for w in topic %}{{ w }}{% endfor %}'}}"),
    "metadata": steps(
        "{type: TextGenerator, config: {user_prompt: '{{ metadata.topic }} {{ metadata | tojson }}'}}"
    ),
    "chained": steps(
        STRUCTURED,
        "{type: TextGenerator, config: {user_prompt: '{{ generated.title }}'}}",
        ("{type: JSONValidatorBlock, config: {field_name: generated, required_fields: [title]}}"),
    ),
    "gated": steps(
        STRUCTURED
        + (
            "\n    gates: [{type: RegexGate, config: {pattern: x, part: generated.title}}]"
            "\n    heal: {max_attempts: 6, entropy: {kind: schedule, temperatures: [0, 0.3]},"
            " stop_on_repeat: false}"
        )
    ),
    "kept keys": steps(
        "{type: TextGenerator, id: n1, position: {x: 1}, config: {user_prompt: x}}", more="layout: {}"
    ),
    "limits": steps(
        TEXT,
        more="constraints: {max_total_tokens: 100, max_total_execution_time: 2.5, "
        "max_total_cost: -1, max_total_input_tokens: null}",
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_pipeline_that_is_well_has_no_problem(name: str) -> None:
    assert list(map(str, find(GOOD[name]))) == []
    assert list(map(str, find(GOOD[name], seeds=None))) == []
    Pipeline.load_from_dict(load_definition(GOOD[name])[0])


def test_the_templates_that_ship_have_no_problem() -> None:
    folder = Path(penstock.templates.__file__).parent

    for file in folder.glob("*.yaml"):
        definition, source = load_definition(file)
        seeds = SeedSource.from_data(json.loads((folder / "seeds" / f"seed_{file.stem}.json").read_text()))

        assert list(map(str, validate(definition, seeds=seeds.head(100), source=source))) == [], file.name


def test_a_finding_says_line_step_key_and_what_to_write() -> None:
    problems = find(
        "name: Test\nblocks:\n  - type: TextGenerator\n    config:\n      user_prompt: '{{ topc }}'"
    )

    (problem,) = problems
    assert problem.to_dict() == {
        "message": "The template reads 'topc', which neither the seeds nor an earlier step have.",
        "fix": "Did you mean 'topic'?",
        "step": 1,
        "block": "TextGenerator",
        "key": "config.user_prompt",
        "line": 5,
        "severity": "error",
    }
    assert str(problem).startswith("line 5, step 1 (TextGenerator): The template reads 'topc'")
    assert "\n" not in str(problem)


def test_a_seed_that_lacks_a_variable_is_named() -> None:
    problems = find(steps(TEXT), seeds=[{"topic": "x"}, {}])

    assert ["seed 2 does not have" in str(problem) for problem in problems] == [True]


@pytest.mark.row("A76", "A122")
def test_a_prompt_in_a_seed_is_checked_as_the_template_that_it_is() -> None:
    seeds = [{"user": "Explain {{ topic }} to {{ role }}.", "topic": "x"}]

    (problem,) = find(steps("type: TextGenerator"), seeds=seeds)

    assert "Seed 1's 'user'" in problem.message
    assert "'role'" in problem.message
    assert find(steps("type: TextGenerator"), seeds=[{**seeds[0], "role": "me"}]) == []


@pytest.mark.row("A37", "A90")
def test_a_multipliers_chunk_has_what_the_seed_had_but_the_document() -> None:
    text = steps(
        "type: MarkdownMultiplierBlock",
        ("{type: TextGenerator, config: {user_prompt: '{{ content }} {{ chunk_index }} {{ author }}'}}"),
    )

    assert find(text, seeds=[{"file_content": "# A", "author": "me"}]) == []
    assert required_variables(load_definition(text)[0]) == ["author", "file_content"]


def test_without_seeds_a_field_made_later_is_a_warning_and_a_required_variable() -> None:
    text = steps("{type: TextGenerator, config: {user_prompt: '{{ generated }} {{ topic }}'}}", STRUCTURED)

    (problem,) = find(text, seeds=None)

    assert (problem.step, problem.severity) == (1, "warning")
    assert required_variables(load_definition(text)[0]) == ["content", "generated", "topic"]


def test_a_block_that_cannot_be_made_is_a_problem_and_not_a_crash() -> None:
    class Picky(BaseBlock):
        outputs = ["x"]  # noqa: RUF012 - as users write it

        def __init__(self, size: int = 1) -> None:
            if size < 0:
                raise RuntimeError("size must be positive")

    blocks = BlockRegistry()
    blocks.register(Picky)

    (problem,) = validate({"name": "x", "blocks": [{"type": "Picky", "config": {"size": -1}}]}, blocks=blocks)

    assert "size must be positive" in problem.message


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        (None, "not a mapping"),
        ([], "not a mapping"),
        ({1: 2}, "not text"),
        (
            {"name": "x", "blocks": [{"type": "TextGenerator", "config": {"user_prompt": b"x"}}]},
            "not a value",
        ),
        ({"name": "x", "blocks": [], "layout": float("nan")}, "not a value"),
    ],
)
def test_data_that_is_no_json_is_said_to_be_none(definition: Any, words: str) -> None:
    assert any(words in str(problem) for problem in validate(definition))


def test_a_definition_that_contains_itself_or_is_endlessly_deep_is_refused() -> None:
    loop: dict[str, Any] = {"name": "x", "blocks": []}
    loop["layout"] = loop
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]

    assert any("too deep" in str(problem) for problem in validate(loop))
    assert any("too deep" in str(problem) for problem in validate({"name": "x", "blocks": deep}))


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: x\nblocks: [", "line 3"),
        ("name: x\nblocks:\n\t- a", "line 3"),
        ("- a\n- b", "holds a list"),
        ("\n", "is empty"),
        (BOMB, "once its anchors unfold"),
        ("a: &a [*a]\n", "contains itself"),
        ("a: " + "[" * 100 + "]" * 100 + "\n", "nested more than 60"),
        ("[" * 100_000 + "\n", "nesting"),
        ("a: !!python/object:os.system x\n", "tag"),
        ("a: 1\n---\nb: 2\n", "another document"),
        ("a: " + "9" * 5000 + "\n", "cannot be read"),
        ("a: \0\n", "not valid YAML"),
        ("a: 1\n" * 500_000, "is larger than 2,048 KB"),
    ],
)
def test_a_text_that_is_no_pipeline_is_refused_with_the_line(text: str, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        load_definition(text)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.json", b'{"name": "x",\n oops}', "x.json line 2: this is not valid JSON"),
        ("x.yaml", b"\xff\xfe", "not UTF-8"),
        ("gone.yaml", None, r"no pipeline file .*gone\.yaml"),
        ("x.yaml", b" " * 3_000_000, "larger than"),
    ],
)
def test_a_file_that_is_no_pipeline_is_refused(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(DefinitionError, match=words):
        load_definition(tmp_path / name)


def test_yaml_and_json_files_give_the_same_definition(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(steps(TEXT), encoding="utf-8-sig")
    (tmp_path / "x.json").write_text(
        '{"name": "Test", "blocks": [{"type": "TextGenerator",\n'
        ' "config": {"user_prompt": "About {{ topic }}"}}]}'
    )

    one, _ = load_definition(tmp_path / "x.yaml")
    other, source = load_definition(str(tmp_path / "x.json"))

    assert one == other
    assert validate(other, seeds=[{}], source=source)[0].line == 2


def test_words_that_older_yaml_takes_for_values_stay_words() -> None:
    definition, _ = load_definition(
        "name: no\non: 2024-01-01\ntime: 12:30\nzip: 010\nlist: [yes, off, ~, 1e3, 0x1F]\n"
    )

    assert definition == {
        "name": "no",
        "on": "2024-01-01",
        "time": "12:30",
        "zip": "010",
        "list": ["yes", "off", None, 1000.0, 31],
    }


WORDS = (
    "name blocks type config gates heal samples constraints user_prompt json_schema part pattern entropy "
    "kind temperatures max_attempts required_fields field_name properties required items $ref "
    "max_total_tokens examples temperature min_length max_length forbidden_words source model blame"
)
KEYS = st.sampled_from(WORDS.split(" "))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 10**20)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        [
            "TextGenerator",
            "StructuredGenerator",
            "MarkdownMultiplierBlock",
            "JSONValidatorBlock",
            "ValidatorBlock",
            "RegexGate",
            "JSONFieldsGate",
            "SimilarityGate",
            "{{ x }}",
            "{% if %}",
            "object",
            "generated.title",
            "ramp",
        ]
    )
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)
STEPS = st.fixed_dictionaries(
    {"type": st.sampled_from(["TextGenerator", "StructuredGenerator", "JSONValidatorBlock", "RougeScore"])},
    optional={
        "config": TREES,
        "gates": st.lists(st.fixed_dictionaries({"type": SCALARS}, optional={"config": TREES})),
        "heal": TREES,
        "samples": SCALARS,
    },
)


@settings(max_examples=150, deadline=None)
@given(
    TREES | st.fixed_dictionaries({"name": st.just("x"), "blocks": st.lists(STEPS | TREES, max_size=4)}),
    st.none() | st.lists(st.dictionaries(KEYS, SCALARS, max_size=4), max_size=3),
)
def test_no_data_makes_the_check_crash(definition: Any, seeds: list[dict[str, Any]] | None) -> None:
    problems = validate(definition, seeds=seeds)

    assert all(str(problem) for problem in problems)
    if isinstance(definition, dict) and not [problem for problem in problems if problem.severity == "error"]:
        Pipeline.load_from_dict(definition)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!\"'|>#,?%@\n\t 01~<.", max_size=60) | TREES.map(yaml.safe_dump))
def test_no_text_makes_the_reader_crash(text: str) -> None:
    try:
        definition, source = load_definition(text + "\n")
    except PipelineError as error:
        assert error.message  # noqa: PT017 - either outcome is right
    else:
        validate(definition, source=source)
