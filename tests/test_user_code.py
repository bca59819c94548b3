"""What users' code raises, as an ordinary exception with a safe text."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import pytest

from penstock.user_code import (
    MAX_MESSAGE,
    UserCodeError,
    describe_exception,
    is_signal,
    name_exception,
    safe_text,
    to_exception,
)


class PanicError(BaseException):
    """As libraries in Rust raise it."""


class SilentError(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)

    __repr__ = __str__


class Shout(str):
    def __str__(self) -> str:
        return self

    def isascii(self) -> bool:
        raise ValueError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PanicError("rust"), "it raised PanicError: rust"),
        (GeneratorExit(), "it raised GeneratorExit"),
        (SystemExit(3), "it raised SystemExit: 3"),
        (KeyboardInterrupt(), "it raised KeyboardInterrupt"),
        (asyncio.CancelledError(), "it was cancelled (CancelledError), but not by penstock"),
        (
            BaseExceptionGroup("several", [PanicError("a"), ValueError("b")]),
            "it raised BaseExceptionGroup: several: PanicError: a; ValueError: b",
        ),
    ],
)
def test_what_is_no_exception_becomes_one(error: BaseException, text: str) -> None:
    made = to_exception(error)

    assert isinstance(made, UserCodeError)
    assert str(made) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (SilentError(), "SilentError without a text"),
        ("half a pair \ud800", "half a pair \\ud800"),
        (Shout("abc"), "abc"),
        ("x" * (MAX_MESSAGE + 1), "x" * (MAX_MESSAGE - 1) + "…"),
    ],
)
def test_any_value_has_a_text_that_can_be_kept(value: object, text: str) -> None:
    made = safe_text(value)

    assert made == text
    assert type(made) is str
    made.encode()


def test_an_exception_without_a_text_is_called_by_its_name() -> None:
    assert describe_exception(ValueError()) == "ValueError"
    assert name_exception(ValueError()) == "ValueError"
    assert name_exception(ValueError("no")) == "ValueError: no"


def test_a_group_names_the_first_of_its_exceptions() -> None:
    group = ExceptionGroup("many", [ValueError(str(number)) for number in range(5)])

    assert describe_exception(group) == "many: ValueError: 0; ValueError: 1; ValueError: 2; and 2 more"


def test_a_real_signal_is_told_from_code_that_raises_the_same() -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
    except KeyboardInterrupt as error:
        real = error
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        own = error

    assert is_signal(real)
    assert not is_signal(own)
    with pytest.raises(KeyboardInterrupt):
        to_exception(real)


def test_no_signal_is_raised_in_another_thread() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(is_signal(KeyboardInterrupt())))
    thread.start()
    thread.join()

    assert found == [False]


async def test_a_cancellation_of_the_task_goes_on() -> None:
    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as error:
            raise to_exception(error) from error

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
