"""The client's way into HDLC at an optical head or a local port: the opening of IEC 62056-21 in mode E, before SNRM.

The opening is spoken at 300 baud; then both sides change to the rate that was agreed on. A link whose speed is not ours, such
as a TCP connection to a serial server, just carries the octets. A meter that does not answer the call may still be in HDLC
from an association before, so HDLC follows in any case; one that is not there says nothing to that either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headend.errors import HeadendError, LinkTimeout
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.mode_e import LINE, OPENING_BAUD, ChangeBaud, ModeE
from headend.transport.exchange import Exchange

if TYPE_CHECKING:
    import asyncio

    from headend.drivers.dlms.parameters import Opening
    from headend.transport.link import Link


async def open_mode_e(link: Link, opening: Opening, timeout: float) -> None:
    """Open; `timeout` in seconds is for the identification of the meter.

    Raises RemoteProtocolError for a meter that answers but knows no HDLC, LinkError for a link that is lost.
    """
    await link.set_line(OPENING_BAUD, LINE)
    call = _Call(link, ModeE(Role.CLIENT, device=opening.device, max_baud=opening.max_baud))
    call.start()
    try:
        baud = await call.ask(timeout)
    except LinkTimeout:
        baud = opening.max_baud
    finally:
        call.stop()
    await link.set_line(baud, LINE)


class _Call(Exchange):
    """The call and its answer: the rate to go on with."""

    __slots__ = ("_mode",)

    def __init__(self, link: Link, mode: ModeE) -> None:
        super().__init__(link)
        self._mode = mode

    def ask(self, timeout: float) -> asyncio.Future[int]:
        """Call, and wait for so many seconds."""
        self._mode.open()
        return self.transact(self._mode.data_to_send(), timeout)

    def data_received(self, data: bytes) -> None:
        """Octets came in."""
        try:
            self._mode.receive_data(data)
            while (event := self._mode.next_event()) is not NEED_DATA:
                if isinstance(event, ChangeBaud):
                    self.link.write(self._mode.data_to_send())
                    self.complete(event.baud)
        except HeadendError as error:
            self.poison(error)
