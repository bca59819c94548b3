"""Files of users that raise anything, declare anything, or print: each alone is missing, with the reason."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.blocks.registry import BlockRegistry
from penstock.errors import BlockNotFoundError, DefinitionError, GateNotFoundError
from penstock.gates import GateRegistry
from penstock.workflow import Pipeline, validate

BLOCK = """import asyncio, sys
from penstock import BaseBlock

class X(BaseBlock):
    outputs = ["o"]
    async def execute(self, data):
        return {"o": "x"}
"""
GATE = """import asyncio, sys
from penstock import BaseGate

class G(BaseGate):
    def look(self, parts):
        return self.verdict()
"""
FINE = BLOCK.replace("class X", "class Fine")

RAISED = {
    "raise asyncio.CancelledError()": "CancelledError",
    "raise GeneratorExit": "GeneratorExit",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise type('Panic', (BaseException,), {})('rust')": "Panic: rust",
    "sys.exit(4)": "SystemExit: it ends the program when it is imported",
    "raise BaseExceptionGroup('g', [KeyboardInterrupt()])": "BaseExceptionGroup: g: KeyboardInterrupt",
    "raise type('E', (Exception,), {'__str__': lambda self: sys.exit(2)})": "E: E without a text",
    "raise ValueError('half ' + chr(0xd800))": "ValueError: half \\ud800",
    "raise RuntimeError('boom')": "RuntimeError: boom",
    "def": "SyntaxError: invalid syntax (line 8)",
}


def registry(folder: Path, **files: str) -> BlockRegistry:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return BlockRegistry(folder)


@pytest.mark.parametrize(("statement", "reason"), RAISED.items())
def test_a_file_that_raises_anything_is_missing_alone_with_the_reason(
    tmp_path: Path, statement: str, reason: str
) -> None:
    found = registry(tmp_path, x=BLOCK + statement + "\n", fine=FINE)

    assert "Fine" in found
    assert found.errors == [{"file": str(tmp_path / "x.py"), "error": reason}]
    with pytest.raises(BlockNotFoundError) as caught:
        found.create("X")
    assert caught.value.message == (
        f"Block 'X' not found; {tmp_path.name}/x.py could not be loaded: {reason}"
    )


def test_the_reason_is_found_by_the_class_that_a_file_defines(tmp_path: Path) -> None:
    found = registry(tmp_path, some_name=BLOCK + "raise RuntimeError('boom')\n")

    with pytest.raises(BlockNotFoundError, match=r"some_name.py could not be loaded: RuntimeError: boom"):
        found.create("X")
    with pytest.raises(BlockNotFoundError, match=r"^Block 'Y' not found$"):
        found.create("Y")


def test_the_reason_is_said_for_gates_too(tmp_path: Path) -> None:
    (tmp_path / "g.py").write_text(GATE + "raise RuntimeError('boom')\n")

    with pytest.raises(GateNotFoundError, match=r"g.py could not be loaded: RuntimeError: boom"):
        GateRegistry(tmp_path).create("G")


def test_the_static_check_says_the_reason(tmp_path: Path) -> None:
    blocks = registry(tmp_path, x=BLOCK + "raise RuntimeError('boom')\n")

    issues = validate({"name": "P", "blocks": [{"type": "X"}]}, blocks=blocks)

    assert "Block 'X' not found; " in issues[0].message
    assert "x.py could not be loaded: RuntimeError: boom." in issues[0].message


def test_an_object_that_raises_when_it_is_looked_at_hides_no_block(tmp_path: Path) -> None:
    proxy = "class Proxy:\n    @property\n    def __class__(self): raise SystemExit(1)\nproxy = Proxy()\n"

    assert "X" in registry(tmp_path, x=BLOCK + proxy)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_a_named_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")

    found = registry(tmp_path, x=BLOCK)

    assert "X" in found
    assert found.errors == [
        {"file": str(tmp_path / "pipe.py"), "error": "ImportError: pipe.py is not a file"}
    ]


DECLARATIONS = {
    "outputs = None": "'outputs' must be a list of names, not None",
    "outputs = 'answer'": "'outputs' must be a list of names, not the text 'answer'",
    "outputs = [1]": "'outputs' must be a list of names, not list",
    "inputs = None": "'inputs' must be a list of names, not None",
    "description = 5": "'description' must be text, not int",
    "config_enums = 5": "'config_enums' must be a mapping, not int",
    "field_references = 'text'": "'field_references' must be a list of names, not the text 'text'",
}


@pytest.mark.parametrize(("declaration", "reason"), DECLARATIONS.items())
def test_a_block_with_wrong_declarations_is_refused_in_one_sentence(
    tmp_path: Path, declaration: str, reason: str
) -> None:
    blocks = registry(tmp_path, x=f"{BLOCK}    {declaration}\n", fine=FINE)
    definition = {"name": "P", "blocks": [{"type": "X"}]}

    types = [schema["type"] for schema in blocks.list_schemas()]
    issues = validate(definition, blocks=blocks)

    assert "Fine" in types
    assert "X" not in types
    assert blocks.errors == [{"file": "X", "error": f"Block 'X': {reason}."}]
    assert issues[0].message == f"Block 'X': {reason}."
    with pytest.raises(DefinitionError) as caught:
        Pipeline.load_from_dict(definition, block_registry=blocks)
    assert caught.value.message == f"Block 'X': {reason}."


METHODS = {
    "def __init__(self): sys.exit(5)": "it raised SystemExit: 5",
    "def __init__(self): raise ValueError('no')": "no",
    "def __new__(cls): return 5": "its class gives int",
    "@classmethod\n    def expects_schema(cls, config): sys.exit(6)": "it raised SystemExit: 6",
    "@classmethod\n    def expects_schema(cls, config): raise ValueError('no')": "ValueError: no",
    "@property\n    def outputs(self): sys.exit(3)": "'outputs' cannot be read: it raised SystemExit: 3",
}


@pytest.mark.parametrize(("method", "reason"), METHODS.items())
def test_a_block_that_cannot_be_made_is_refused_in_one_sentence(
    tmp_path: Path, method: str, reason: str
) -> None:
    blocks = registry(tmp_path, x=f"{BLOCK}    {method}\n")
    definition = {"name": "P", "blocks": [{"type": "X"}]}

    issues = validate(definition, blocks=blocks)

    assert any(reason in issue.message for issue in issues)
    with pytest.raises(DefinitionError) as caught:
        Pipeline.load_from_dict(definition, block_registry=blocks)
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.exit(6)", "it raised SystemExit: 6"),
        ("return {1: object()}", "TypeError: get_schema does not give type, name, description"),
        ("return None", "TypeError: get_schema does not give type, name, description"),
    ],
)
def test_a_schema_that_cannot_be_made_is_listed_as_an_error(tmp_path: Path, body: str, reason: str) -> None:
    blocks = registry(tmp_path, x=f"{BLOCK}    @classmethod\n    def get_schema(cls): {body}\n", fine=FINE)

    types = [schema["type"] for schema in blocks.list_schemas()]

    assert "Fine" in types
    assert "X" not in types
    assert blocks.errors[0]["error"].startswith(reason)


def replaced(old: str, new: str) -> str:
    return BLOCK.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (replaced("async def", "def"), "Block 'X': 'execute' must be async def."),
        (replaced("(self, data)", "(self)"), "Block 'X': 'execute' must take (self, data)."),
        (
            replaced("return", "yield"),
            "Block 'X': 'execute' must return its result instead of using 'yield'.",
        ),
        (replaced("execute", "run"), "Block 'X': it defines no method 'execute'."),
        (
            f"{BLOCK}    async def regenerate(self, data): return {{}}\n",
            "Block 'X': 'regenerate' must take (self, data, attempt).",
        ),
    ],
)
def test_the_static_check_finds_methods_of_the_wrong_form(tmp_path: Path, text: str, message: str) -> None:
    blocks = registry(tmp_path, x=text)

    issues = validate({"name": "P", "blocks": [{"type": "X"}]}, blocks=blocks)

    assert [issue.message for issue in issues] == [message]
    assert issues[0].severity == "error"


def test_a_block_without_outputs_is_a_warning(tmp_path: Path) -> None:
    blocks = registry(tmp_path, x=replaced('outputs = ["o"]', "outputs = []"))

    issues = validate({"name": "P", "blocks": [{"type": "X"}]}, blocks=blocks)

    assert [(issue.severity, issue.message) for issue in issues] == [
        ("warning", "Block 'X' declares no outputs, so it cannot return any field.")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GATE.replace("def look", "async def look"), "Gate 'G': 'look' must be def, without async."),
        (GATE.replace("def look", "def check"), "Gate 'G': 'check' must be async def."),
        (GATE.replace("look", "judge"), "Gate 'G': it defines no method 'look'."),
        (f"{GATE}    cost = None\n", "Gate 'G': 'cost' must be a number, not None."),
        (f"{GATE}    def __init__(self): sys.exit(1)\n", "it raised SystemExit: 1."),
    ],
)
def test_the_static_check_finds_gates_of_the_wrong_form(tmp_path: Path, text: str, message: str) -> None:
    blocks = registry(tmp_path, x=BLOCK)
    (tmp_path / "g.py").write_text(text)
    step: dict[str, Any] = {"type": "X", "gates": [{"type": "G"}]}

    issues = validate({"name": "P", "blocks": [step]}, blocks=blocks, gates=GateRegistry(tmp_path))

    assert any(issue.message.endswith(message) for issue in issues)


def test_a_decorated_method_may_be_a_plain_function(tmp_path: Path) -> None:
    decorated = BLOCK.replace("    async def execute", "    @passing\n    async def execute").replace(
        "class X",
        "import functools\n"
        "def passing(method):\n"
        "    @functools.wraps(method)\n"
        "    def call(self, data):\n"
        "        return method(self, data)\n"
        "    return call\n\n"
        "class X",
    )
    blocks = registry(tmp_path, x=decorated)
    definition = {"name": "P", "blocks": [{"type": "X"}]}

    issues = validate(definition, blocks=blocks)
    results = asyncio.run(Pipeline.load_from_dict(definition, block_registry=blocks).run([{}]))

    assert issues == []
    assert results[0].result["o"] == "x"
