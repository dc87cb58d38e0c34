"""The probes, octet by octet, and what they make of the answers of meters and of others.

Expected octets are written out from IEC 62056-5-3 (AARQ), 62056-47 (wrapper) and 62056-46 (frames and their check sequences).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from headend.drivers.dlms import driver
from headend.errors import LinkError, ProbeEnded
from headend.model.discovery import Intrusion
from headend.transport.link import Link
from headend.transport.memory import memory_pair
from tests.services.support import virtual

from .discovered import Place, served, virtual_meter

AARQ = bytes.fromhex(
    "60 1D"  # AARQ
    "A1 09 06 07 60 85 74 05 08 01 01"  # application context: logical names, not ciphered
    "BE 10 04 0E"  # user information
    "01 00 00 00 06"  # initiate request: no dedicated key, DLMS version 6
    "5F 1F 04 00 00 1E 1D FF FF"  # conformance, longest APDU
)
WRAPPED_16 = bytes.fromhex("0001 0010 0001 001F") + AARQ
WRAPPED_1 = bytes.fromhex("0001 0001 0001 001F") + AARQ
SNRM_16_1 = bytes.fromhex("7E A007 03 21 93 0F01 7E")
SNRM_1_1 = bytes.fromhex("7E A007 03 03 93 8C11 7E")
SNRM_16_16 = bytes.fromhex("7E A007 21 21 93 8CB7 7E")
SNRM_16_1_17 = bytes.fromhex("7E A00A 00020023 21 93 1871 7E")
DISC_16_1 = bytes.fromhex("7E A007 03 21 53 03C7 7E")
UA_1_16 = bytes.fromhex("7E A007 21 03 73 0140 7E")
DM_1_16 = bytes.fromhex("7E A007 21 03 1F 6BE9 7E")
RLRQ = bytes.fromhex("62 03 80 01 00")
RLRE = bytes.fromhex("63 03 80 01 00")
ACCEPTED = bytes.fromhex(
    "61 29 A1 09 06 07 60 85 74 05 08 01 01"
    "A2 03 02 01 00 A3 05 A1 03 02 01 00"
    "BE 10 04 0E 08 00 06 5F 1F 04 00 00 10 14 00 C8 00 07"
)
REJECTED = bytes.fromhex("61 17 A1 09 06 07 60 85 74 05 08 01 01 A2 03 02 01 01 A3 05 A1 03 02 01 0D")
"""authentication failure, and no user information, as some meters refuse"""
NOT_ALLOWED = bytes.fromhex("D8 01 01")


class Answering:
    """Somebody who says `said` to a frame, and nothing to any other; `unasked` is said at once."""

    def __init__(self, link: Link, said: Mapping[bytes, bytes], unasked: bytes = b"", *, closes: bool = False) -> None:
        self.link, self.said, self.closes = link, said, closes
        link.set_receiver(self)
        if unasked:
            link.write(unasked)

    def data_received(self, data: bytes) -> None:
        if data in self.said:
            self.link.write(self.said[data])
        elif self.closes:
            self.link.abort()

    def link_lost(self, error: LinkError) -> None:
        pass


def somebody(said: Mapping[bytes, bytes], unasked: bytes = b"", *, closes: bool = False) -> Callable[[], Link]:
    def opened() -> Link:
        near, far = memory_pair()
        Answering(far, said, unasked, closes=closes)
        return near

    return opened


def wrapped(apdu: bytes, source: int = 1, destination: int = 16) -> bytes:
    return b"".join(n.to_bytes(2, "big") for n in (1, source, destination, len(apdu))) + apdu


def probe(name: str) -> int:
    return [each.name for each in driver.probes()].index(name)


def test_harmless_probes_come_first() -> None:
    """The meter's own port first, nothing that is asked before something that is listened to, the unusual last."""
    probes = driver.probes()
    assert [each.intrusion for each in probes] == sorted(each.intrusion for each in probes)
    assert probes[0].intrusion is Intrusion.LISTEN
    assert [each.name for each in probes if each.exhaustive] == ["dlms listen", "dlms apdu"]
    assert all(4059 in each.ports for each in probes if not each.exhaustive)
    assert {each.framing for each in probes} == {"wrapper", "hdlc", "apdu"}


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("dlms listen", b""),
        ("dlms wrapper", WRAPPED_16 + WRAPPED_1),
        ("dlms hdlc", SNRM_16_1 + SNRM_1_1 + SNRM_16_16 + SNRM_16_1_17),
        ("dlms apdu", AARQ),
    ],
)
@virtual
async def test_what_is_sent_to_who_is_silent(name: str, octets: bytes) -> None:
    place = Place(somebody({}), timeout=0.5)
    found = await driver.probes()[probe(name)].run(place.ground)
    assert found == ()
    assert b"".join(place.sent) == octets
    assert len(place.sent) == 1
    assert b"".join(each.sent for each in place.ground.evidence) == octets
    assert all(not link.is_open for link in place.links)


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        (wrapped(ACCEPTED), WRAPPED_16 + wrapped(RLRQ, 16, 1)),
        (wrapped(REJECTED), WRAPPED_16),
        (wrapped(NOT_ALLOWED), WRAPPED_16),
        (wrapped(ACCEPTED, 16, 1), WRAPPED_16 + wrapped(RLRQ, 16, 1)),  # as it was asked, the wrong way round
        (wrapped(REJECTED, 5, 16), WRAPPED_16),  # from another port
    ],
)
@virtual
async def test_the_wrapper_is_there(answer: bytes, sent: bytes) -> None:
    """Whoever answers by an APDU that is one to an AARQ, whatever it says, speaks DLMS; what was accepted is released."""
    place = Place(somebody({WRAPPED_16: answer, wrapped(RLRQ, 16, 1): wrapped(RLRE)}))
    (sighting,) = await driver.probes()[probe("dlms wrapper")].run(place.ground)
    assert (sighting.framing, dict(sighting.params)) == ("wrapper", {"client": "16", "server": "1"})
    assert place.ground.evidence[sighting.evidence[0]].received == answer
    assert b"".join(place.sent) == sent
    assert place.ground.associations == 1


@virtual
async def test_who_knows_the_management_client_alone() -> None:
    place = Place(somebody({WRAPPED_1: wrapped(REJECTED, 1, 1)}))
    (sighting,) = await driver.probes()[probe("dlms wrapper")].run(place.ground)
    assert dict(sighting.params) == {"client": "1", "server": "1"}


@virtual
async def test_who_closes_is_asked_once_more() -> None:
    place = Place(somebody({}, closes=True))
    assert await driver.probes()[probe("dlms wrapper")].run(place.ground) == ()
    assert [bytes(octets) for octets in place.sent] == [WRAPPED_16, WRAPPED_1]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(40), b"\x00\x01" * 30])
@virtual
async def test_who_answers_otherwise_is_left_alone(answer: bytes) -> None:
    place = Place(somebody({WRAPPED_16: answer}), timeout=0.5)
    assert await driver.probes()[probe("dlms wrapper")].run(place.ground) == ()
    assert b"".join(place.sent) == WRAPPED_16


@virtual
async def test_hdlc_is_there() -> None:
    place = Place(somebody({SNRM_16_1: UA_1_16, DISC_16_1: UA_1_16}))
    (sighting,) = await driver.probes()[probe("dlms hdlc")].run(place.ground)
    assert (sighting.framing, dict(sighting.params)) == ("hdlc", {"client": "16", "server": "1"})
    assert b"".join(place.sent) == SNRM_16_1 + DISC_16_1


@virtual
async def test_hdlc_that_refuses_is_there_too() -> None:
    place = Place(somebody({SNRM_16_1: DM_1_16}))
    (sighting,) = await driver.probes()[probe("dlms hdlc")].run(place.ground)
    assert sighting.framing == "hdlc"
    assert b"".join(place.sent) == SNRM_16_1


@virtual
async def test_a_line_that_says_everything_again() -> None:
    """The echo of a line is nobody's answer."""
    stations = (SNRM_16_1, SNRM_1_1, SNRM_16_16, SNRM_16_1_17)
    place = Place(somebody({frame: frame for frame in stations}), timeout=0.5)
    assert await driver.probes()[probe("dlms hdlc")].run(place.ground) == ()
    assert b"".join(place.sent) == b"".join(stations)


@virtual
async def test_who_answers_in_the_other_framing() -> None:
    """A meter with HDLC that says its push while the wrapper is asked for."""
    place = Place(somebody({WRAPPED_16: DM_1_16}), timeout=0.5)
    (sighting,) = await driver.probes()[probe("dlms wrapper")].run(place.ground)
    assert (sighting.framing, sighting.params["server"]) == ("hdlc", "1")


@pytest.mark.parametrize(
    ("unasked", "framing", "params"),
    [
        (wrapped(bytes.fromhex("0F 00 00 00 01 00 02 01 09 01 41"), 1, 0x66), "wrapper", {"server": "1"}),
        (DM_1_16, "hdlc", {"server": "1", "address_size": "1"}),
    ],
)
@virtual
async def test_who_speaks_unasked(unasked: bytes, framing: str, params: dict[str, str]) -> None:
    place = Place(somebody({}, unasked))
    (sighting,) = await driver.probes()[probe("dlms listen")].run(place.ground)
    assert sighting.framing == framing
    assert params.items() <= sighting.params.items()
    assert not any(place.sent)
    assert asyncio.get_running_loop().time() < 0.2


@virtual
async def test_what_was_heard_before_is_looked_at_first() -> None:
    """Whoever listens for all protocols has it among the evidence already; nothing is opened for that."""
    place = Place(somebody({}, DM_1_16))
    heard, listened = driver.probes()[probe("dlms overheard")], driver.probes()[probe("dlms listen")]
    assert await heard.run(place.ground) == ()
    assert place.links == []
    await listened.run(place.ground)
    (sighting,) = await heard.run(place.ground)
    assert (sighting.framing, sighting.evidence) == ("hdlc", (0,))


@virtual
async def test_probes_of_every_framing_at_a_virtual_meter() -> None:
    for name, framing in (("dlms wrapper", "wrapper"), ("dlms hdlc", "hdlc"), ("dlms apdu", "apdu")):
        place = Place(served(virtual_meter({}, {})))
        (sighting,) = await driver.probes()[probe(name)].run(place.ground)
        assert sighting.framing == framing


@virtual
async def test_nothing_is_sent_where_everything_has_ended() -> None:
    place = Place(somebody({}))
    place.ground.stopped = "somebody defends himself"
    for each in driver.probes()[1:]:
        with pytest.raises(ProbeEnded, match="defends"):
            await each.run(place.ground)
    assert place.sent == []
