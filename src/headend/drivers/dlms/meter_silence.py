"""The inactivity time-out of HDLC on the meter's side: a client that says nothing for so long has gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from headend.transport.deadline import sweeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from headend.transport.link import Link


class Silence:
    """Watches the octets of a link from now on until `stop`. `end` is called after one to two times of `seconds` of silence.

    It looks once in each of these times; the octets themselves cost nothing.
    """

    __slots__ = ("_end", "_link", "_seconds", "_seen", "_time", "deadline")

    def __init__(self, link: Link, seconds: float, end: Callable[[], None]) -> None:
        self._time = asyncio.get_running_loop().time
        self._link = link
        self._seconds = seconds
        self._end = end
        self._seen = link.octets_in
        self.deadline = self._time() + seconds
        sweeper().add(self)

    def expire(self) -> None:
        """It is time to look."""
        seen, self._seen = self._seen, self._link.octets_in
        if seen == self._seen:
            self._end()
        self.deadline = self._time() + self._seconds

    def stop(self) -> None:
        """Watch no longer."""
        sweeper().discard(self)
