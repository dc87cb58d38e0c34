"""Callers that do not say who they are, and are asked: virtual DLMS meters behind modems that only connect."""

from __future__ import annotations

import asyncio

import pytest

from headend.drivers.dlms import driver as dlms
from headend.drivers.library import load_profile
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import ConfigError
from headend.model.meter import MeterIdentity
from headend.runtime.gateway import schemes
from headend.services.gateway.limits import Limits
from services.support import clock, virtual

from .support import Dialled, Modem, inbound

PROFILE = load_profile(
    """
[meter]
vendor = "Acme"
model = "A1"
protocol = "dlms"
state = "EMULATED"
source = "this test"
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "Wh"
""",
    "acme-a1",
    "this test",
)
ASK = (("dlms", "hdlc"), ("dlms", "wrapper"))


def silent_meter(head_end: Dialled, **where: str) -> Modem:
    modem = head_end.dial(**where)
    dlms.serve(modem.link, VirtualMeter(MeterKind(PROFILE, clock), 7, 0, {}, {}))
    return modem


@virtual
async def test_a_silent_meter_says_who_it_is_when_it_is_asked() -> None:
    head_end = Dialled(drivers={"dlms": dlms}, ask=ASK, limits=Limits(first_octet=30.0))
    modem = silent_meter(head_end)
    await asyncio.sleep(4)
    assert modem.link.octets_in == 0, "it has a moment to say something by itself"
    await asyncio.sleep(30)
    (entry,) = head_end.gateway.quarantine.all()
    assert entry.identity != MeterIdentity()
    assert entry.key.startswith("name ")
    assert entry.protocol == "dlms"
    assert modem.link.is_open
    name = entry.key.removeprefix("name ")
    head_end.roster.add(inbound("m1", name))
    assert head_end.gateway.caller_of("m1") is not None
    await head_end.aclose()


@virtual
async def test_who_does_not_answer_is_not_asked_again_within_the_hour() -> None:
    head_end = Dialled(drivers={"dlms": dlms}, ask=ASK)
    first = head_end.dial()
    await asyncio.sleep(120)
    assert not first.link.is_open
    asked = first.link.octets_in
    assert asked
    second = head_end.dial()
    await asyncio.sleep(120)
    assert (second.link.is_open, second.link.octets_in) == (False, 0)
    await asyncio.sleep(3600)
    third = head_end.dial()
    await asyncio.sleep(120)
    assert third.link.octets_in == asked
    await head_end.aclose()


@virtual
async def test_nobody_is_asked_where_the_settings_do_not_say_so() -> None:
    head_end = Dialled(drivers={"dlms": dlms})
    modem = silent_meter(head_end)
    await asyncio.sleep(60)
    assert (modem.link.is_open, modem.link.octets_in) == (False, 0)
    await head_end.aclose()


@virtual
async def test_what_is_asked_ends_with_the_head_end() -> None:
    head_end = Dialled(drivers={"dlms": dlms}, ask=ASK)
    head_end.dial()
    await asyncio.sleep(6)
    await head_end.aclose()


def test_schemes_of_urls_name_what_may_be_tried() -> None:
    assert schemes(["dlms", "dlms+hdlc"]) == [("dlms", "wrapper"), ("dlms", "hdlc")]
    for wrong in ("inbound", "pigeon"):
        with pytest.raises(ConfigError, match=wrong):
            schemes([wrong])
