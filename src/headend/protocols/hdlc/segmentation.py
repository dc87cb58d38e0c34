"""APDU to information fields and back: the LLC header (IEC 62056-46, 5.3) and the segmentation bit (6.4.2.3)."""

from __future__ import annotations

from typing import Final

from headend.errors import RemoteProtocolError
from headend.protocols.base import Role

LLC_COMMAND: Final = b"\xe6\xe6\x00"
LLC_RESPONSE: Final = b"\xe6\xe7\x00"
LLC_SIZE: Final = 3
LLC_SENT: Final = {Role.CLIENT: LLC_COMMAND, Role.SERVER: LLC_RESPONSE}
"""The header that each role sends."""
_LLC_RECEIVED: Final = (LLC_RESPONSE, LLC_COMMAND)
"""On receipt both are taken, because meters mix them up."""

MAX_APDU: Final = 1 << 17
"""Longest APDU put together from segments: twice the greatest PDU size that an association can agree on."""

Segment = tuple[bytes, bool]
"""Information field, and whether more of the same APDU follow."""


def split_apdu(llc: bytes, apdu: bytes, size: int) -> list[Segment]:
    """The information fields, of at most `size` octets each, that carry `apdu`."""
    whole = llc + apdu
    return [(whole[at : at + size], at + size < len(whole)) for at in range(0, len(whole), size)]


class Assembly:
    """Information fields in order to APDUs; `data` is what has come of an incomplete one."""

    __slots__ = ("_limit", "_llc_required", "data")

    def __init__(self, *, llc_required: bool, limit: int = MAX_APDU) -> None:
        self._llc_required = llc_required
        self._limit = limit
        self.data = bytearray()

    def add(self, information: bytes, *, more: bool) -> bytes | None:
        """Add an information field; the APDU without its LLC header once it is complete."""
        data = self.data
        data += information
        if len(data) > self._limit:
            data.clear()
            raise RemoteProtocolError("segmented APDU too long", expected=f"at most {self._limit} octets")
        if more:
            return None
        apdu = bytes(data)
        data.clear()
        if apdu.startswith(_LLC_RECEIVED):
            return apdu[LLC_SIZE:]
        if self._llc_required:
            raise RemoteProtocolError(
                "LLC header missing", offset=0, expected="E6 E6 00 or E6 E7 00", got=apdu[:3].hex()
            )
        return apdu
