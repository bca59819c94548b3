"""Making a pipeline of a definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.errors import (
    BlockExecutionError,
    BlockNotFoundError,
    DefinitionError,
    PipelineError,
    ValidationError,
)
from penstock.workflow import Pipeline
from support.trial_pipelines import build, note, run_one


@pytest.mark.row("A11", "A12")
def test_the_error_of_an_unknown_block_lists_the_known_ones() -> None:
    with pytest.raises(BlockNotFoundError) as caught:
        Pipeline("x", [{"type": "LLMBlock"}])

    assert caught.value.message == "Block 'LLMBlock' not found"
    assert caught.value.detail["block_type"] == "LLMBlock"
    assert {"TextGenerator", "StructuredGenerator", "MarkdownMultiplierBlock", "RougeScore"} <= set(
        caught.value.detail["available_blocks"]
    )


@pytest.mark.row("A14")
@pytest.mark.parametrize("kind", [BlockNotFoundError, BlockExecutionError, ValidationError])
def test_an_error_has_a_message_and_details(kind: type[PipelineError]) -> None:
    bare, full = kind("no"), kind("no", {"a": 1})

    assert isinstance(bare, PipelineError)
    assert (bare.message, bare.detail) == ("no", {})
    assert full.detail == {"a": 1}


@pytest.mark.parametrize(
    "blocks",
    [
        [{"config": {}}],
        [{"type": None}],
        [{"type": ["TextGenerator"]}],
        ["TextGenerator"],
        "TextGenerator",
        {"type": "TextGenerator"},
        [None],
        [{"type": "ValidatorBlock", "config": "x"}],
        [{"type": "ValidatorBlock", "config": [1]}],
        [{"type": "ValidatorBlock", "gates": "RegexGate"}],
        [{"type": "ValidatorBlock", "gates": ["RegexGate"]}],
        [{"type": "ValidatorBlock", "gates": [{"config": {}}]}],
        [{"type": "ValidatorBlock", "heal": "often"}],
        [{"type": "ValidatorBlock", "heal": {"max_attempts": 0}}],
        [{"type": "ValidatorBlock", "samples": "three"}],
        [{"type": "ValidatorBlock", "samples": 0}],
        [{"type": "ValidatorBlock", "samples": True}],
        [{"type": "ValidatorBlock", "samples": 10**9}],
    ],
)
def test_a_malformed_step_is_refused(blocks: Any) -> None:
    with pytest.raises(PipelineError) as caught:
        Pipeline.load_from_dict({"name": "x", "blocks": blocks})

    assert isinstance(caught.value, DefinitionError | BlockNotFoundError)


@pytest.mark.row("A31", "A43")
def test_a_definition_survives_the_round_trip_with_all_its_keys() -> None:
    definition = {
        "name": "P",
        "description": "d",
        "constraints": {"max_total_tokens": -1, "max_total_execution_time": 5},
        "layout": {"x": [1, 2]},
        "blocks": [{"type": "ValidatorBlock", "config": {"min_length": 1}, "note": "kept"}],
    }

    pipeline = Pipeline.load_from_dict(definition)

    assert pipeline.to_dict() == definition
    assert Pipeline.load_from_dict(pipeline.to_dict()).to_dict() == definition


async def test_changing_the_result_of_to_dict_does_not_change_the_pipeline() -> None:
    pipeline = build(note("a"))

    pipeline.to_dict()["blocks"][0]["config"]["word"] = "b"

    assert (await run_one(pipeline, {})).result["notes"] == ["a"]
    assert pipeline.to_dict()["blocks"][0]["config"]["word"] == "a"


@pytest.mark.row("A143")
async def test_config_may_be_left_out_or_null() -> None:
    pipeline = build("Slow", {"type": "Slow", "config": None})

    assert (await run_one(pipeline, {})).result["slept"] is True


@pytest.mark.row("A44", "A52")
@pytest.mark.parametrize(
    "constraints",
    [
        {"max_total_tokens": -2},
        {"max_total_tokens": "many"},
        {"max_total_tokens": True},
        {"max_total_execution_time": "1"},
        {"max_tokens": 5},
        ["max_total_tokens"],
        "none",
    ],
)
def test_constraints_that_cannot_be_used_are_refused_with_their_name(constraints: Any) -> None:
    with pytest.raises(DefinitionError, match="constraint"):
        build(constraints=constraints)


@pytest.mark.row("A44", "D7")
@pytest.mark.parametrize("limit", [-1, None])
def test_minus_one_null_and_absence_mean_no_limit(limit: int | None) -> None:
    assert build(constraints={"max_total_tokens": limit}).constraints.unlimited
    assert build(constraints=None).constraints.unlimited
    assert build().constraints.unlimited


def test_a_file_is_loaded_as_yaml_or_json(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("name: P\nself: kept\nblocks: [{type: ValidatorBlock}]\n")
    (tmp_path / "p.json").write_text('{"name": "P", "self": "kept", "blocks": [{"type": "ValidatorBlock"}]}')

    loaded = [Pipeline.load(tmp_path / "p.yaml"), Pipeline.load(str(tmp_path / "p.json"))]

    assert loaded[0].to_dict() == loaded[1].to_dict()
    assert loaded[0].to_dict()["self"] == "kept"
