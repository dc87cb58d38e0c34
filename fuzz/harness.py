"""What every harness shares: instrumented imports, libFuzzer's options, feeding in pieces, the rule that is asserted.

The rule: octets give an event, NEED_DATA or RemoteProtocolError (where keys are at work, SecurityError too); the decoder comes
to an end, and keeps no more than it promises. Whatever else is raised is a finding, and so is what libFuzzer finds: more than
ten seconds, more than 512 MiB.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import atheris

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

FOUND = Path(os.environ.get("HEADEND_FUZZ_FOUND", Path(__file__).parent / "found"))


class Receiver(Protocol):
    """What all framings and connections have in common."""

    def receive_data(self, data: bytes) -> None:
        """Take octets."""

    def next_event(self) -> Any:
        """Say what they mean."""


def instrumented(*more: str) -> AbstractContextManager[None]:
    """Imports of protocols, and of `more` packages, in this context are watched by the fuzzer."""
    watched = ["headend.protocols", "headend.errors", *more]
    manager: AbstractContextManager[None] = atheris.instrument_imports(include=watched)
    return manager


def fuzz(family: str, one_input: Callable[[bytes], None]) -> None:
    """Run libFuzzer with the options of the command line, and never return.

    What it finds goes to `fuzz/found/<family>` (or HEADEND_FUZZ_FOUND): the seed corpus stays as it is.
    """
    found = FOUND / family
    found.mkdir(parents=True, exist_ok=True)
    options = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    paths = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    defaults = [
        option
        for option in (f"-artifact_prefix={found}/", "-rss_limit_mb=512", "-timeout=10", "-max_len=4096")
        if not any(given.startswith(option.split("=")[0] + "=") for given in options)
    ]
    alone = len(paths) == 1 and Path(paths[0]).is_file()  # one input to be run again
    corpora = paths if alone else [str(found), *paths]
    atheris.Setup([sys.argv[0], *defaults, *options, *corpora], one_input)
    atheris.Fuzz()


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """`data` in pieces of `size` octets, or whole for 0."""
    for start in range(0, len(data), size or len(data) or 1):
        yield data[start : start + (size or len(data))]


def drain(
    receiver: Receiver,
    need_data: object,
    refusal: type[Exception] | tuple[type[Exception], ...],
    limit: int,
    faults: list[Exception] | None = None,
) -> list[Any]:
    """All events; refusals go to `faults`. At most `limit` of both, for each must use up octets."""
    events: list[Any] = []
    for _ in range(limit):
        try:
            event = receiver.next_event()
        except refusal as fault:
            if faults is not None:
                faults.append(fault)
            continue
        if event is need_data:
            return events
        events.append(event)
    raise AssertionError(f"{type(receiver).__name__} goes on for ever")
