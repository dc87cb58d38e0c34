"""Opening the link that an endpoint names."""

from __future__ import annotations

from headend.errors import CapabilityError
from headend.model.meter import Endpoint, EndpointKind
from headend.transport.link import Link
from headend.transport.serial import open_serial
from headend.transport.tcp import connect_tcp
from headend.transport.udp import connect_udp


async def open_link(endpoint: Endpoint, timeout: float) -> Link:
    """Open the link to an endpoint within `timeout` seconds.

    Raises ConnectRefused, LinkTimeout or LinkError, and CapabilityError for what cannot be opened from here.
    """
    match endpoint.kind:
        case EndpointKind.TCP:
            return await connect_tcp(endpoint.host, endpoint.port, timeout)
        case EndpointKind.UDP:
            return await connect_udp(endpoint.host, endpoint.port, timeout)
        case EndpointKind.SERIAL:
            return await open_serial(endpoint.path, endpoint.baud, timeout, line=endpoint.line)
        case EndpointKind.INBOUND:
            raise CapabilityError(
                f"{endpoint.host} dials in; nobody can connect to it", hint="wait until it connects to the listener"
            )
        case EndpointKind.MEMORY:
            raise CapabilityError("a link in memory is made by memory_pair, not opened")
