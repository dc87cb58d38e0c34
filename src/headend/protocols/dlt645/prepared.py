"""Reads that recur: the octets are made once, and an answer that came in one piece is decoded in place."""

from __future__ import annotations

from typing import Final

from headend.errors import LocalProtocolError
from headend.protocols.dlt645.events import RequestTo
from headend.protocols.dlt645.fields import encode_di
from headend.protocols.dlt645.formats import Layout
from headend.protocols.dlt645.frame import FROM_METER, LEADER, Address, Frame, encode_frame, from_wire, to_wire
from headend.protocols.dlt645.requests import Read
from headend.standards.dlt645 import Version

READ_CODES: Final = {Version.V2007: 0x11, Version.V1997: 0x01}
_STOP: Final = 0x16


def encode_read(address: Address, di: int, version: Version = Version.V2007, *, leader: int = 4) -> bytes:
    """The whole request for one data identifier; LocalProtocolError when it is too long for the version."""
    return encode_frame(Frame(address, READ_CODES[version], encode_di(di, version)), leader=leader)


class PreparedRead:
    """One read of one meter: the request, and what its answer begins with. Immutable, to be shared.

    `asked` is the event that it stands for, `expected` what the connection knows of its answer.
    """

    __slots__ = ("_data_at", "_di", "_head", "asked", "expected", "layout", "octets", "request", "version")

    def __init__(
        self, address: Address, di: int, layout: Layout, version: Version = Version.V2007, *, leader: int = 4
    ) -> None:
        """Raises LocalProtocolError for an identifier that is too long for the version, and where nobody would answer."""
        self.request = Read(di)
        self.version = version
        self.asked = RequestTo(address, self.request, version)
        if not self.asked.is_answered:
            raise LocalProtocolError("nobody answers a Read that goes to everybody")
        self.expected = (READ_CODES[version], encode_di(di, version))
        self.layout = layout
        self.octets = encode_read(address, di, version, leader=leader)
        self._head = b"\x68%b\x68%c" % (address.octets, READ_CODES[version] | FROM_METER)
        self._di = to_wire(encode_di(di, version))
        self._data_at = 10 + len(self._di)

    def data_of(self, answer: bytes) -> bytes | None:
        """The data, behind their identifier, of a whole and intact answer to this read; None for anything else or more."""
        answer = answer.lstrip(LEADER)
        if (
            not answer.startswith(self._head)
            or len(answer) < self._data_at + 2
            or len(answer) != answer[9] + 12
            or not answer.startswith(self._di, 10)
            or answer[-1] != _STOP
            or sum(answer[:-2]) & 0xFF != answer[-2]
        ):
            return None
        return from_wire(answer[self._data_at : -2])
