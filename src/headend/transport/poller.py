"""What waits for many descriptors at once: epoll where the platform has it, else the best selector behind the same few calls."""

from __future__ import annotations

import select
import selectors
from typing import Final, TypeAlias

READ: Final = 1  # EPOLLIN
WRITE: Final = 4  # EPOLLOUT


class Selecting:
    """As much of `select.epoll` as is needed here, over the best selector that the platform has."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, fd: int, eventmask: int, /) -> None:
        """Watch a descriptor."""
        self._selector.register(fd, selectors.EVENT_READ if eventmask == READ else selectors.EVENT_WRITE)

    def unregister(self, fd: int, /) -> None:
        """Watch a descriptor no longer, before it is closed."""
        self._selector.unregister(fd)

    def poll(self, timeout: float, _maxevents: int, /) -> list[tuple[int, int]]:
        """The descriptors that are ready."""
        return [(key.fd, events) for key, events in self._selector.select(timeout)]

    def close(self) -> None:
        """Watch none any longer."""
        self._selector.close()


Poller: TypeAlias = "select.epoll | Selecting"


def best_poller() -> Poller:
    """`select.epoll` where it exists."""
    return select.epoll() if hasattr(select, "epoll") else Selecting()
