"""The probe that sends nothing: who pushes, or says anything else of DLMS when a connection is made, needs no question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.base import Sniffed
from headend.drivers.dlms import sniffing
from headend.errors import HeadendError, LinkClosed, LinkTimeout
from headend.model.discovery import Sighting
from headend.protocols.hdlc.frame import FLAG, MAX_HEADER, decode_header
from headend.transport.exchange import Exchange

if TYPE_CHECKING:
    import asyncio

    from headend.drivers.ground import Ground
    from headend.transport.link import Link

PROTOCOL: Final = "dlms"
LISTEN: Final = 1.0
"""Seconds in which who speaks unasked has begun to."""
_LOOKED_AT: Final = 512
"""Octets in which a frame has to begin."""
_QUIET: Final = 0.05
"""Seconds of silence after which the line is free for another framing, as behind serial servers."""


async def listen(ground: Ground) -> tuple[Sighting, ...]:
    """Who speaks DLMS unasked; raises LinkError, ProbeEnded."""
    link = await ground.link()
    ear = _Ear(link)
    ear.start()
    try:
        await ear.hear(min(LISTEN, ground.timeout))
    except (LinkTimeout, LinkClosed):
        pass
    finally:
        ear.stop()
    await ground.close()
    index = ground.step("dlms listen", "spoke unasked" if ear.octets else "said nothing unasked")
    return heard(bytes(ear.octets), index)


async def overhear(ground: Ground) -> tuple[Sighting, ...]:
    """Who is told by what was said unasked, and is known already; opens no link."""
    for index, each in enumerate(ground.evidence):
        if not each.sent and (found := heard(each.received, index)):
            return found
    return ()


def heard(octets: bytes, index: int) -> tuple[Sighting, ...]:
    """Who is told by octets that a frame of DLMS begins in; nobody where none does."""
    for at in range(min(len(octets), _LOOKED_AT)):
        told = sniffing.sniff(octets, at, silent=True)
        if not isinstance(told, Sniffed) or not told.whole or (at and not told.sure):
            continue
        params = {"client": "16", "server": "1"}
        if told.framing == "hdlc":
            params |= _station(octets, at)
        elif told.framing == "wrapper":
            params["server"] = str(int.from_bytes(octets[at + 2 : at + 4], "big"))
        note = "told by what it said unasked, or to another question"
        return (Sighting(protocol=PROTOCOL, framing=told.framing, params=params, evidence=(index,), note=note),)
    return ()


async def quiet(ground: Ground) -> None:
    """Leave the line alone for a moment, between one framing and the next."""
    if ground.links:
        await ground.sleep(_QUIET)


def _station(octets: bytes, at: int) -> dict[str, str]:
    """The address of the meter that has sent a frame of HDLC."""
    start = at
    while octets[start : start + 1] == bytes((FLAG,)):
        start += 1
    try:
        header = decode_header(octets[start : start + MAX_HEADER])
    except HeadendError:
        return {}
    if header is None or header.source.is_reserved:
        return {}
    source = header.source
    found = {"server": str(source.upper), "address_size": str(source.size)}
    if source.lower:
        found["physical"] = str(source.lower)
    return found


class _Ear(Exchange):
    """Keeps what comes, until it is enough to tell."""

    __slots__ = ("octets",)

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.octets = bytearray()

    def hear(self, seconds: float) -> asyncio.Future[None]:
        """Listen for so long; raises LinkTimeout when nobody has said enough."""
        return self.transact(b"", seconds)

    def data_received(self, data: bytes) -> None:
        """Octets came in."""
        self.octets += data[: max(0, 2 * _LOOKED_AT - len(self.octets))]
        if heard(bytes(self.octets), 0) or len(self.octets) >= 2 * _LOOKED_AT:
            self.complete(None)
