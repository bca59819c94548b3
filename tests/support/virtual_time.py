"""An event loop whose clock jumps to the next timer, so that a test of long waits takes no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Counts the seconds that it was asked to wait, and does not wait them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits for something that no timer brings")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """``time()`` starts at 0 and passes only while every task waits."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def jump(self, seconds: float) -> None:
        """Let time pass in which nothing runs, as if the process had been stopped."""
        self._jumping.now += seconds


def run_in_virtual_time(story: Callable[[Callable[[], float]], Coroutine[Any, Any, T]]) -> T:
    """Run ``story(clock)``, where ``clock`` gives the seconds that seem to have passed."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(story(runner.get_loop().time))
