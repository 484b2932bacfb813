"""Ctrl-C of several processes: it reaches each at another moment, and they have to end at the same one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gnvpro.surrogate.coupling import Coupling

# Signals that are noted before one is as it always was: torchrun hands on the Ctrl-C that its processes have had already.
_NOTED = 2
_came = 0


@contextmanager
def noted() -> Iterator[None]:
    """Inside, interrupts and requests to end are noted for `came`, the third one is as usual.

    Outside of the main thread nothing changes, as no signal arrives there.
    """
    global _came
    _came = 0
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(*_: object) -> None:
        global _came
        _came += 1
        if _came >= _NOTED:
            for number, handler in before.items():
                signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def came(coupling: Coupling) -> bool:
    """Whether an interrupt was noted in any of these processes; all of them ask."""
    return coupling.any(_came > 0)
