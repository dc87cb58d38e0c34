"""Hearing everybody on a line of DL/T 645: several may answer one question with wildcards, one after the other or at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headend.errors import DecodeError, LinkError, RemoteProtocolError
from headend.protocols.base import NeedData
from headend.protocols.dlt645.frame import FROM_METER, FUNCTION, Address, Frame, FrameExtractor, encode_frame
from headend.protocols.dlt645.messages import decode_response, encode_request
from headend.protocols.dlt645.requests import Read, ReadAddress
from headend.protocols.dlt645.responses import Data, MeterAddress, Refusal

if TYPE_CHECKING:
    from headend.drivers.ground import Ground
    from headend.model.meter import Endpoint
    from headend.protocols.dlt645.responses import Response
    from headend.standards.dlt645 import Version

_QUIET: Final = 0.05
_QUIETS: Final = 20
"""How often we wait for silence before octets go onto a line."""
_OTHERS: Final = 0.1
"""Seconds after an answer in which others may answer the same question."""
_LEADER: Final = b"\xfe"
_SIGNS: Final = b"\x68\x16\xfe"
"""Octets that every frame has; some of them outlive a collision."""
_FEW: Final = 120
"""Octets that the frames of some meters have together: what is more is something else."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one question brought: addresses of meters that answered, what they said, and whether octets were no frame."""

    addresses: tuple[Address, ...] = ()
    responses: tuple[Response, ...] = ()
    garbage: bytes = b""

    @property
    def collided(self) -> bool:
        """Several seem to have answered at once."""
        return 0 < len(self.garbage) <= _FEW and any(octet in self.garbage for octet in _SIGNS)


class Listener:
    """The owner of a link that takes every frame, whoever sends it."""

    def __init__(self, ground: Ground, endpoint: Endpoint | None = None) -> None:
        self.frames: list[Frame] = []
        self.lost: LinkError | None = None
        self._ground = ground
        self._endpoint = endpoint
        self._extractor = FrameExtractor()
        self._heard = bytearray()
        self._news = asyncio.Event()

    async def open(self) -> None:
        """Open the link, and wait until nobody speaks there; raises LinkError and ProbeEnded."""
        link = await self._ground.link(self._endpoint)
        self._link = link
        link.set_receiver(self)
        for _ in range(_QUIETS):
            heard = link.octets_in
            await self._ground.sleep(_QUIET)
            if link.octets_in == heard:
                return

    def data_received(self, data: bytes) -> None:
        """Octets came in."""
        self._heard += data[: _FEW * 4 - len(self._heard)] if len(self._heard) < _FEW * 4 else b""
        try:
            self._extractor.receive_data(data)
        except RemoteProtocolError:
            return
        while not isinstance(frame := self._extractor.next_frame(), NeedData):
            if frame.control & FROM_METER and not frame.address.has_wildcard:
                self.frames.append(frame)
                self._news.set()

    def link_lost(self, error: LinkError) -> None:
        """The link is gone."""
        self.lost = error
        self._news.set()

    def unasked(self) -> tuple[Address, ...]:
        """Meters that have spoken so far."""
        return tuple(dict.fromkeys(frame.address for frame in self.frames))

    async def ask(self, address: Address, request: Read | ReadAddress, version: Version, timeout: float) -> Heard:
        """Who answers, within `timeout` seconds; raises ProbeEnded."""
        self._ground.go_on()
        if self.lost is not None:
            return Heard()
        control, data = encode_request(request, version)
        octets = encode_frame(Frame(address, control, data))
        self._extractor.clear()
        self.frames.clear()
        self._heard.clear()
        self._news.clear()
        self._link.write(octets)
        until = self._ground.time() + min(timeout, max(0.0, self._ground.seconds_left))
        found: dict[Address, Response] = {}
        while (left := until - self._ground.time()) > 0 and self.lost is None:
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except TimeoutError:
                break
            self._news.clear()
            for frame in self.frames:
                answer = _answer(frame, address, request, control, version)
                if answer is not None and not found:
                    until = min(until, self._ground.time() + _OTHERS)
                if answer is not None:
                    found.setdefault(*answer)
            self.frames.clear()
        garbage = b"" if found else bytes(self._heard).replace(octets, b"").replace(octets.lstrip(_LEADER), b"")
        return Heard(tuple(found), tuple(found.values()), garbage.strip(_LEADER))


def _answer(
    frame: Frame, asked: Address, request: Read | ReadAddress, control: int, version: Version
) -> tuple[Address, Response] | None:
    """The meter and what it says, where a frame answers the request; None for everything else."""
    if frame.control & FUNCTION != control or not asked.matches(frame.address):
        return None
    try:
        response = decode_response(frame.control, frame.data, version)
    except DecodeError:
        return None
    if isinstance(response, MeterAddress) and isinstance(request, ReadAddress):
        return (frame.address if response.address.has_wildcard else response.address), response
    if isinstance(response, Data) and isinstance(request, Read) and response.di == request.di:
        return frame.address, response
    return (frame.address, response) if isinstance(response, Refusal) else None
