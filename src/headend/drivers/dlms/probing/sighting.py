"""The probes: one harmless question in each framing, and whether DLMS answers. See `headend.drivers.ground.Probe`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.parameters import Addressing
from headend.drivers.dlms.probing.listening import PROTOCOL, heard, listen, overhear, quiet
from headend.drivers.dlms.probing.offers import Offer, judge
from headend.drivers.dlms.probing.wire import Wire
from headend.drivers.ground import Probe
from headend.errors import LinkError, LinkTimeout, ProtocolError
from headend.model.discovery import Evidence, Intrusion, Sighting, TrialOutcome
from headend.protocols.base import LinkReleased
from headend.protocols.dlms.acse import Aarq
from headend.protocols.dlms.initiate import Conformance, InitiateRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headend.drivers.ground import Ground

_PUBLIC, _MANAGEMENT = 16, 1
_ASSOCIATION: Final = Aarq(
    user_information=InitiateRequest(conformance=Conformance(0x001E1D)).encode(),
).encode()
"""The one that every meter knows: logical names, no authentication, the services of old."""
_CLIENTS: Final = (_PUBLIC, _MANAGEMENT)
_STATIONS: Final = ((_PUBLIC, 1, 0, 1), (_MANAGEMENT, 1, 0, 1), (_PUBLIC, 16, 0, 1), (_PUBLIC, 1, 17, 4))
"""Client, logical device, physical device and octets of the address, the most usual first."""


def probes(ports: tuple[int, ...]) -> Sequence[Probe]:
    """Cheap and harmless first."""
    connect = Intrusion.CONNECT
    overheard = Probe(
        name="dlms overheard", framing="wrapper", intrusion=Intrusion.LISTEN, cost=0, run=overhear, ports=ports
    )
    listened = Probe(
        name="dlms listen", framing="wrapper", intrusion=Intrusion.LISTEN, cost=1, run=listen, exhaustive=True
    )
    return (
        overheard,
        listened,
        Probe(
            name="dlms wrapper",
            framing="wrapper",
            intrusion=connect,
            cost=len(_CLIENTS),
            run=partial(_by_association, "wrapper"),
            ports=ports,
        ),
        Probe(name="dlms hdlc", framing="hdlc", intrusion=connect, cost=len(_STATIONS), run=_by_link, ports=ports),
        Probe(
            name="dlms apdu",
            framing="apdu",
            intrusion=connect,
            cost=1,
            run=partial(_by_association, "apdu"),
            exhaustive=True,
        ),
    )


async def _by_association(framing: str, ground: Ground) -> tuple[Sighting, ...]:
    """An AARQ of the public client, and where nobody answers it one of the management client."""
    wire = Wire(ground)
    found: tuple[Sighting, ...] = ()
    await quiet(ground)
    try:
        for client in _CLIENTS if framing == "wrapper" else (_PUBLIC,):
            found = await _associate(wire, Addressing(framing, client, 1))
            if found or _spoke(ground):
                break
    finally:
        await wire.drop()
    return found or _told_otherwise(ground)


async def _associate(wire: Wire, addressing: Addressing) -> tuple[Sighting, ...]:
    """One AARQ, and the release of what may have come of it."""
    ground = wire.ground
    name = f"dlms {addressing.framing} AARQ {addressing.client} to {addressing.server}"
    await wire.connect()
    ground.associate()
    try:
        talk = await wire.reach(addressing)
        if isinstance(talk, LinkReleased):
            return ()
        received = await talk.ask(_ASSOCIATION, ground.timeout)
        answer = judge(Offer(addressing.client, addressing.server), received.apdu)
    except (LinkError, ProtocolError) as error:
        ground.step(name, _reason(error))
        await _give_up(wire, error)
        return ()
    client = received.destination if received.unsolicited and received.destination in _CLIENTS else addressing.client
    index = ground.step(name, " ".join(filter(None, (answer.outcome.value, answer.diagnostic))))
    if answer.outcome is TrialOutcome.ACCEPTED:
        await wire.release()
        ground.step("dlms release")
    params = {"client": str(client), "server": str(addressing.server)}
    return (Sighting(protocol=PROTOCOL, framing=addressing.framing, params=params, evidence=(index,)),)


async def _by_link(ground: Ground) -> tuple[Sighting, ...]:
    """SNRM to the usual addresses, and DISC for the one that is answered; to all stations that somebody has named.

    These get half of the time that there is: other protocols have stations, too.
    """
    wire = Wire(ground)
    found: list[Sighting] = []
    stations = (*_STATIONS, *((_PUBLIC, 1, unit, 0) for unit in ground.units))
    await quiet(ground)
    try:
        for client, server, physical, size in stations:
            ground.go_on()
            if ground.seconds_left < ground.budget.seconds / 2:
                break
            sighting = await _open(wire, Addressing("hdlc", client, server, physical, size))
            found += sighting
            if (found or _spoke(ground)) and not ground.units:
                break
    finally:
        await wire.drop()
    return tuple(found) or _told_otherwise(ground)


async def _open(wire: Wire, addressing: Addressing) -> tuple[Sighting, ...]:
    """SNRM to one address, and DISC where it is answered."""
    ground, client, server, physical = wire.ground, addressing.client, addressing.server, addressing.physical
    name = f"dlms hdlc SNRM {client} to {server}:{physical}"
    await wire.connect()
    try:
        talk = await wire.reach(addressing)
    except (LinkError, ProtocolError) as error:
        ground.step(name, _reason(error))
        await _give_up(wire, error)
        return ()
    index = ground.step(name, talk.reason if isinstance(talk, LinkReleased) else "UA")
    if not isinstance(talk, LinkReleased):
        await wire.leave()
        ground.step("dlms hdlc DISC")
    params = {"client": str(client), "server": str(server)} | ({"physical": str(physical)} if physical else {})
    return (Sighting(protocol=PROTOCOL, framing="hdlc", params=params, evidence=(index,)),)


async def _give_up(wire: Wire, error: LinkError | ProtocolError) -> None:
    """What is silent may be asked on the same link for somebody else: a late answer names its ports, or its address."""
    if isinstance(error, LinkTimeout):
        wire.forget()
    else:
        await wire.drop()


def _reason(error: LinkError | ProtocolError) -> str:
    if isinstance(error, LinkTimeout):
        return "no answer"
    return "not an answer of DLMS" if isinstance(error, ProtocolError) else "closed"


def _last(ground: Ground) -> Evidence | None:
    return ground.evidence[-1] if ground.evidence else None


def _spoke(ground: Ground) -> bool:
    """Somebody has answered, though not as it was hoped: no need to ask in the same way again."""
    last = _last(ground)
    return last is not None and last.received not in {b"", last.sent}  # the second is the echo of a line


def _told_otherwise(ground: Ground) -> tuple[Sighting, ...]:
    """Who answered in another framing than that of the question."""
    last = _last(ground)
    if last is None:
        return ()
    return heard(last.received.removeprefix(last.sent), len(ground.evidence) - 1)
