"""The process that runs the embedded model."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from penstock.errors import ConfigurationError
from penstock.llm import embedded
from penstock.llm.embedded.server import _failure
from penstock.llm.embedded.weights import find_installed
from penstock.settings import EMBEDDED_MODEL, Settings

INSTALLED = find_installed(embedded.EMBEDDED_MODELS[EMBEDDED_MODEL]) is not None and bool(
    importlib.util.find_spec("xllamacpp")
)
needs_model = [
    pytest.mark.embedded,
    pytest.mark.skipif(not INSTALLED, reason="penstock[embedded] is not installed"),
]
TINY = b"GGUF" + bytes(60)


def listens(base_url: str) -> bool:
    """Whether anything accepts connections there."""
    address = urlsplit(base_url)
    with (
        contextlib.suppress(OSError),
        socket.create_connection((address.hostname or "", address.port or 0), 1),
    ):
        return True
    return False


async def wait_until_closed(base_url: str) -> None:
    """Return when nothing accepts connections there; fails after half a minute."""
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
    """A running server, which all tests share, as everything in a process does."""

    pytestmark = needs_model

    async def test_concurrent_callers_get_the_same_server(self) -> None:
        servers = await asyncio.gather(*(embedded.start(Settings()) for _ in range(5)))

        assert len({id(server) for server in servers}) == 1
        assert servers[0].running

    async def test_it_answers_on_the_loopback_interface_and_only_with_its_key(self) -> None:
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
            pytest.skip("this system has no /proc")
        seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()

        assert server.api_key.encode() not in seen
        assert server.api_key not in repr(server)

    async def test_at_temperature_zero_it_repeats_its_answer_when_it_serves_nothing_else(
        self,
    ) -> None:
        server = await embedded.start(Settings())

        answers = [await ask(server, "Write a line about a river.") for _ in range(4)]

        assert len(set(answers)) == 1

    async def test_another_event_loop_uses_the_same_server(self) -> None:
        here = await embedded.start(Settings())

        there = await asyncio.to_thread(lambda: asyncio.run(embedded.start(Settings())))

        assert there is here

    async def test_a_server_that_died_is_started_again(self) -> None:
        first = await embedded.start(Settings())
        first.process.kill()
        first.process.wait()

        second = await embedded.start(Settings())

        assert second.running
        assert (await ask(second, "Hello"))[0] == 200

    async def test_it_ends_when_it_is_stopped(self) -> None:
        server = await embedded.start(Settings())

        embedded.stop_all()

        await wait_until_closed(server.base_url)
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
async def test_the_server_ends_when_the_process_that_started_it(end: str) -> None:
    command = [sys.executable, "-c", OWNER, "stay" if end == "is killed" else "leave"]
    owner = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    base_url = (await owner.stdout.readline()).decode().strip()
    assert base_url

    if end == "is killed":
        assert listens(base_url)
        os.kill(owner.pid, signal.SIGKILL)
    await owner.wait()

    await wait_until_closed(base_url)


async def test_an_unknown_embedded_model_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="embedded/smollm2-135m") as caught:
        await embedded.start(Settings(), "embedded/gpt-9")

    assert caught.value.detail["available_models"] == [EMBEDDED_MODEL]


@pytest.mark.skipif(not importlib.util.find_spec("xllamacpp"), reason="the runtime is not installed")
async def test_a_gguf_file_without_a_model_is_an_error_at_once(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(TINY)

    with pytest.raises(ConfigurationError, match=r"did not start from broken\.gguf"):
        await embedded.start(Settings(embedded_model_path=path))


@pytest.mark.skipif(not INSTALLED, reason="penstock[embedded] is not installed")
async def test_any_gguf_file_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.symlink_to(find_installed(embedded.EMBEDDED_MODELS[EMBEDDED_MODEL]) or "")
    settings = Settings(embedded_model_path=path)

    server = await embedded.start(settings)

    assert (await ask(server, "Hello"))[0] == 200
    assert embedded.fingerprint(settings, EMBEDDED_MODEL) != embedded.fingerprint(Settings(), EMBEDDED_MODEL)


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


class TestProcess:
    """What a server does with its process, whatever that runs."""

    @pytest.fixture
    def process(self) -> Iterator[subprocess.Popen[bytes]]:
        """A process that ends with status 0 when its standard input does."""
        with subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
        ) as process:
            yield process
            process.kill()

    def test_it_ends_by_itself_when_it_is_stopped(self, process: subprocess.Popen[bytes]) -> None:
        server = embedded.EmbeddedServer("http://127.0.0.1:1/v1", "key", Path("model.gguf"), process)
        before = server.running

        server.stop()

        assert (before, server.running) == (True, False)
        assert process.returncode == 0

    @pytest.mark.parametrize("difference", [-1, 1])
    def test_a_forked_process_neither_stops_it_nor_takes_it_for_dead(
        self, process: subprocess.Popen[bytes], difference: int
    ) -> None:
        owner = os.getpid() + difference
        server = embedded.EmbeddedServer("http://127.0.0.1:1/v1", "key", Path("model.gguf"), process, owner)

        server.stop()

        assert process.poll() is None
        process.kill()
        process.wait()
        assert server.running
