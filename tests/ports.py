"""Ports for servers that cannot choose one by themselves.

A port that the system has given and taken back may be given to somebody else before the server is there: to another of the
tests that run at the same time, or as the near end of a connection. These lie below the system's, and each worker has its own.
"""

from __future__ import annotations

import os
import random
import socket
from itertools import count
from typing import Final

FIRST: Final = 14_000
WIDTH: Final = 2_000
"""of a worker's share; eight of them end below 32768, where Linux begins"""

_BEGIN: Final = FIRST + WIDTH * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8)
_ORDER: Final = count(random.SystemRandom().randrange(WIDTH))


def free_port() -> int:
    """One that nobody has on any address, and that this process has not given lately."""
    for _ in range(WIDTH):
        port = _BEGIN + next(_ORDER) % WIDTH
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        return port
    raise AssertionError("no port is free")
