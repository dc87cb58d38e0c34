"""Who may associate with a virtual meter, and what the standard says to everybody else."""

from __future__ import annotations

from typing import Any

import pytest

from headend.errors import ConfigError, KeyMissing

ENERGY = "c001c100030100010800ff0200"
VALUE = "c401c1000600bc5ea8"
"""12345000, in 10 Wh"""
LOST = "d80101"


async def test_a_client_with_the_password_gets_what_both_can_do(meter: Any, connect: Any, aarq_lls: str) -> None:
    head_end = connect(meter)
    answer = await head_end.ask(aarq_lls)
    assert answer == "6129a109060760857405080101a203020100a305a103020100be10040e0800065f1f0400005e1fffff0007"
    assert await head_end.ask(ENERGY) == VALUE


@pytest.mark.parametrize(
    ("client_sap", "change", "diagnostic"),
    [
        (1, ("3132333435363738", "3132333435363739"), 13),  # another password
        (1, ("8a0207808b0760857405080201ac0a80083132333435363738", ""), 14),  # none
        (1, ("8b0760857405080201", "8b0760857405080205"), 11),  # HLS
        (1, ("a109060760857405080101", "a109060760857405080102"), 2),  # short names
        (16, ("", ""), 11),  # the public client has no password
        (17, ("", ""), 1),  # nobody knows this client
    ],
)
async def test_others_are_refused(
    meter: Any, connect: Any, aarq_lls: str, client_sap: int, change: tuple[str, str], diagnostic: int
) -> None:
    content = aarq_lls[4:].replace(*change) if change[0] else aarq_lls[4:]
    head_end = connect(meter, client_sap)
    answer = await head_end.ask(f"60{len(content) // 2:02x}{content}")
    assert answer == f"6117a109060760857405080101a203020101a305a10302010{diagnostic:x}"
    assert await head_end.ask(ENERGY) == LOST


@pytest.mark.parametrize(
    ("initiate", "error"),
    [
        ("01000000055f1f0400007e1fffff", "0e010601"),  # DLMS version 5
        ("01000000065f1f0400180000ffff", "0e010602"),  # short names only
        ("01000000065f1f0400007e1f0008", "0e010603"),  # APDUs of eight octets
    ],
)
async def test_proposals_that_nobody_can_keep_are_refused(meter: Any, connect: Any, initiate: str, error: str) -> None:
    head_end = connect(meter, 16)
    answer = await head_end.ask(f"601da109060760857405080101be10040e{initiate}")
    assert answer == f"611fa109060760857405080101a203020101a305a103020101be060404{error}"
    assert await head_end.ask(ENERGY) == LOST


async def test_the_public_client_reads_and_changes_nothing(meter: Any, connect: Any, aarq_none: str) -> None:
    head_end = connect(meter, 16)
    assert (await head_end.ask(aarq_none)).startswith("6129")
    assert await head_end.ask(ENERGY) == VALUE
    assert await head_end.ask("c101c100010000603200ff02000600000001") == "c501c103"
    assert await head_end.ask("c301c10046000060030aff01010f00") == "c701c10300"
    assert meter.closed


async def test_the_meter_file_may_ask_the_public_client_for_a_password(
    make_meter: Any, connect: Any, aarq_none: str
) -> None:
    head_end = connect(make_meter(client="16"), 16)
    assert (await head_end.ask(aarq_none)).endswith("a305a10302010e")


async def test_a_meter_without_a_secret_accepts_no_password(meter: Any, connect: Any, aarq_lls: str) -> None:
    meter.secrets = {}
    assert (await connect(meter).ask(aarq_lls)).endswith("a305a10302010d")


async def test_without_an_association_there_is_no_service(meter: Any, connect: Any, aarq_lls: str) -> None:
    head_end = connect(meter)
    assert await head_end.ask(ENERGY) == LOST
    assert await head_end.ask("6203800100") == "6303800100"
    assert (await head_end.ask(aarq_lls)).startswith("6129")
    assert await head_end.ask(ENERGY) == VALUE
    assert await head_end.ask("6203800100") == "6303800100"
    assert await head_end.ask(ENERGY) == LOST


async def test_another_client_on_the_same_link_has_no_part_in_the_association(head_end: Any) -> None:
    head_end.saps = (16, 1)
    assert await head_end.ask(ENERGY) == LOST
    head_end.saps = (1, 1)
    assert await head_end.ask(ENERGY) == VALUE


async def test_another_logical_device_does_not_answer(head_end: Any) -> None:
    assert await head_end.say(bytes.fromhex("000100010002000d" + ENERGY)) == b""


async def test_services_that_were_not_agreed_are_refused(meter: Any, connect: Any) -> None:
    head_end = connect(meter, 16)
    get_only = "601da109060760857405080101be10040e01000000065f1f0400000010ffff"
    assert "5f1f0400000010" in await head_end.ask(get_only)
    for request in (
        "c003c101" + ENERGY[6:],
        "c101c100010000603200ff02000600000001",
        "c301c10046000060030aff01010f00",
        "c001c100070100630100ff020102020406000000010600000002120000120000",
    ):
        assert await head_end.ask(request) == "d80202"
    assert await head_end.ask(ENERGY) == VALUE


@pytest.mark.parametrize("request_", ["c8011200", "0501020708", "e0000000000000", "db084142434445464748010001"])
async def test_unknown_services_are_refused(head_end: Any, request_: str) -> None:
    assert await head_end.ask(request_) == "d80202"
    assert await head_end.ask(ENERGY) == VALUE


@pytest.mark.parametrize("request_", ["c0", "c001c10003", "c004c1", "c401c10000", "c102c1000100", ENERGY + "00"])
async def test_malformed_requests_are_refused(head_end: Any, request_: str) -> None:
    assert await head_end.ask(request_) == "d80103"
    assert await head_end.ask(ENERGY) == VALUE


async def test_what_is_no_frame_ends_the_link(head_end: Any) -> None:
    await head_end.say(b"\x00\x02\x00\x10\x00\x01\x00\x05hello")
    assert head_end.lost


async def test_an_own_address(make_meter: Any, connect: Any, aarq_lls: str) -> None:
    head_end = connect(make_meter(client="5", server="17"), 5, 17)
    assert (await head_end.ask(aarq_lls)).startswith("6129")
    assert await head_end.ask(ENERGY) == VALUE


@pytest.mark.parametrize(("params", "error"), [({"auth": "gmac"}, KeyMissing), ({"client": "x"}, ConfigError)])
async def test_parameters_that_the_meter_role_cannot_play(
    make_meter: Any, connect: Any, params: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        connect(make_meter(**params))
