"""Providers that are reached through litellm."""

from __future__ import annotations

import subprocess
import sys

import pytest

from penstock.errors import ConfigurationError
from penstock.llm import Client
from penstock.settings import Settings
from support.messages import say


async def test_a_provider_whose_package_is_missing_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)  # as if it were not installed
    settings = Settings(llm_model="sagemaker/some-endpoint")

    async with Client(settings) as client:
        with pytest.raises(
            ConfigurationError, match=r"^sagemaker needs a package that is not installed: .*boto3"
        ):
            await client.complete(say("a"))


def test_closing_does_not_import_litellm() -> None:
    code = (
        "import asyncio, sys; from penstock.llm.transports.litellm import close_clients;"
        "asyncio.run(close_clients()); print('litellm' in sys.modules)"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout == "False\n"
