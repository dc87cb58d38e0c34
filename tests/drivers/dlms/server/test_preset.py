"""A pre-established association: requests from the first octet on, with nothing agreed and nothing released on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.dlms.client import DlmsSession
from headend.drivers.dlms.driver import DlmsDriver
from headend.errors import ConfigError, LocalProtocolError, ServiceRefused
from headend.model.job import Command, CommandKind, Verdict
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.objects import HistoryRequest, ReadPlan
from headend.protocols.base import Role
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.initiate import Conformance
from headend.protocols.wrapper import WrapperFraming
from headend.transport.link import Link
from headend.transport.memory import memory_pair

NEGOTIATED = "007e1f"


class Heard:
    """A link that notes what comes in."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.octets: list[bytes] = []
        self.receiver: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.link, name)

    def set_receiver(self, receiver: Any) -> None:
        self.receiver = receiver
        self.link.set_receiver(self)  # type: ignore[arg-type] # it has what a receiver has

    def data_received(self, data: bytes) -> None:
        self.octets.append(data)
        self.receiver.data_received(data)

    def link_lost(self, error: Any) -> None:
        self.receiver.link_lost(error)


async def attach(
    meter: Any, framing: str, params: dict[str, str], keys: Sequence[str] = ()
) -> tuple[DlmsSession, Heard]:
    near, far = memory_pair()
    heard = Heard(far)
    driver.serve(heard, meter)  # type: ignore[arg-type] # it has what a link has
    endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
    known = Meter(id="m", protocol="dlms", framing=framing, endpoint=endpoint, params=params)
    secrets = {name: Secret(bytes(16)) for name in keys}
    try:
        return await DlmsDriver().attach(near, known, None, secrets), heard
    except BaseException:
        near.abort()
        raise


@pytest.mark.parametrize("framing", ["wrapper", "hdlc", "apdu"])
@pytest.mark.parametrize(("ref", "preset"), [("ln", NEGOTIATED), ("ln", "001019"), ("sn", "181a20")])
async def test_everything_goes_without_associating(make_meter: Any, framing: str, ref: str, preset: str) -> None:
    params = {"client": "1", "auth": "none", "ref": ref, "preset": preset}
    meter = make_meter(**params)
    session, heard = await attach(meter, framing, params)
    plan = ReadPlan(entries=meter.profile.objects)
    for _ in range(2):
        assert (await session.read(plan)).values[:3] == [12_345_000, 2302, 4200]
    request = HistoryRequest(ref=meter.profile.load_profiles[0].ref)
    rows = [row async for block in session.read_history(request) for row in block.rows]
    assert len(rows) == meter.held
    command = Command(kind=CommandKind.WRITE, params={"ref": "1/0-0:96.50.0.255", "value": 42})
    assert (await session.execute(command)).verdict is Verdict.CONFIRMED
    await session.aclose()
    start = 8 if framing == "wrapper" else 11 if framing == "hdlc" else 0
    assert not {data[start] for data in heard.octets if len(data) > start} & {0x60, 0x62}


async def test_an_association_may_be_made_all_the_same(make_meter: Any) -> None:
    meter = make_meter(client="1", auth="none", preset=NEGOTIATED)
    session, heard = await attach(meter, "wrapper", {"client": "1"})
    assert not (await session.read(ReadPlan(entries=meter.profile.objects[:2]))).errors
    await session.aclose()
    assert [data[8] for data in heard.octets][:: len(heard.octets) - 1] == [0x60, 0x62]


async def test_only_the_client_of_the_parameters_has_it(make_meter: Any) -> None:
    meter = make_meter(client="1", auth="none", preset=NEGOTIATED)
    session, _ = await attach(meter, "wrapper", {"client": "16", "preset": NEGOTIATED})
    found = await session.read(ReadPlan(entries=meter.profile.objects[:1]))
    assert isinstance(found.errors[0], ServiceRefused)
    await session.aclose()


async def test_what_does_not_go_together(make_meter: Any) -> None:
    for params, keys, words in (
        ({"preset": NEGOTIATED, "auth": "lls"}, (), "no authentication"),
        ({"preset": NEGOTIATED}, ("ek", "ak"), "not ciphered"),
        ({"preset": "7e1f"}, (), "six digits"),
        ({"preset": "all"}, (), "hexadecimal"),
    ):
        with pytest.raises(ConfigError) as caught:
            await attach(make_meter(client="1", auth="none"), "wrapper", params, keys)
        assert words in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("role", list(Role))
def test_there_is_one_association_at_a_time(role: Role) -> None:
    connection = DlmsConnection(role, WrapperFraming(role, client_sap=16, server_sap=1))
    connection.assume(Conformance.GET, 0)
    assert connection.conformance == Conformance.GET
    assert connection.max_send_pdu == 0xFFFF
    with pytest.raises(LocalProtocolError, match="is assumed in state"):
        connection.assume(Conformance.GET, 0)
