"""A link around another one, for those who hear or change what goes through: everything else is the link's beneath."""

from __future__ import annotations

from typing import Generic, TypeVar

from headend.transport.link import Link, Tap

L = TypeVar("L", bound=Link)


class LinkAround(Generic[L]):
    """Passes on what it does not do itself. `set_receiver` is left to who knows what comes."""

    __slots__ = ("link",)

    def __init__(self, link: L) -> None:
        self.link = link

    @property
    def peer(self) -> str:
        """Who is at the other end."""
        return self.link.peer

    @property
    def local(self) -> str:
        """Our end."""
        return self.link.local

    @property
    def octets_in(self) -> int:
        """Octets that really came."""
        return self.link.octets_in

    @property
    def octets_out(self) -> int:
        """Octets that really left."""
        return self.link.octets_out

    @property
    def tap(self) -> Tap | None:
        """Sees what really travels."""
        return self.link.tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self.link.tap = tap

    @property
    def is_open(self) -> bool:
        """As the link beneath."""
        return self.link.is_open

    def write(self, data: bytes) -> None:
        """Send octets."""
        self.link.write(data)

    async def set_line(self, baud: int, line: str) -> None:
        """As the link beneath."""
        await self.link.set_line(baud, line)

    def abort(self) -> None:
        """Drop the link at once."""
        self.link.abort()

    async def aclose(self) -> None:
        """Flush and close the link."""
        await self.link.aclose()
