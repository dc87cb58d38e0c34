"""Speeds and character formats that meters have on a serial line, the usual ones first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from headend.errors import LinkError
from headend.model.meter import Endpoint, EndpointKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from headend.model.discovery import Sighting

_LINES: Final = {
    "modbus": (
        *((9600, "8N1"), (19200, "8E1"), (9600, "8E1"), (19200, "8N1"), (2400, "8N1"), (4800, "8N1")),
        *((38400, "8N1"), (115200, "8N1"), (38400, "8E1"), (57600, "8N1"), (1200, "8N1")),
    ),
    "dlt645": ((2400, "8E1"), (9600, "8E1"), (4800, "8E1"), (1200, "8E1"), (19200, "8E1"), (9600, "8N1")),
    "dlms": ((9600, "8N1"), (19200, "8N1"), (38400, "8N1"), (4800, "8N1"), (2400, "8N1"), (115200, "8N1")),
}


def serial_endpoints(path: str, protocol: str) -> tuple[Endpoint, ...]:
    """A serial port at the speeds and formats of a protocol, in the order in which they are tried."""
    lines = _LINES.get(protocol, _LINES["modbus"])
    return tuple(Endpoint(kind=EndpointKind.SERIAL, path=path, baud=baud, line=line) for baud, line in lines)


def places(endpoint: Endpoint, protocol: str) -> tuple[Endpoint, ...]:
    """Where a protocol may be spoken at an endpoint: there alone, or on a serial line at other speeds after its own."""
    if endpoint.kind is not EndpointKind.SERIAL:
        return (endpoint,)
    others = (replace(each, host=endpoint.host) for each in serial_endpoints(endpoint.path, protocol))
    return tuple(dict.fromkeys((endpoint, *others)))


async def first_found(
    endpoint: Endpoint, protocol: str, look: Callable[[Endpoint], Awaitable[tuple[Sighting, ...]]]
) -> tuple[Sighting, ...]:
    """Look at one place after the other until somebody is found. A speed or format that a port does not have is left out.

    Raises what `look` raises; LinkError only when there is no place that can be looked at.
    """
    failures: list[LinkError] = []
    tried = places(endpoint, protocol)
    for place in tried:
        try:
            if found := await look(place):
                return found
        except LinkError as error:
            failures.append(error)
    if len(failures) == len(tried):
        raise failures[0]
    return ()
