"""The association report: what it says of each client, and what it says of what nobody saw."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files

import pytest

from headend.errors import ConfigError, DecodeError
from headend.model.discovery import Evidence, Examination, Fact, Trial, TrialOutcome
from headend.model.meter import Endpoint, EndpointKind
from headend.protocols.dlms.initiate import Conformance
from headend.services.discovery.report import matrix
from headend.services.profiles.schema import check
from headend.standards.conformance import BITS, conformance_names

AARQ, AARE = bytes.fromhex("601da109060760857405080101"), bytes.fromhex("6129a109060760857405080101")


def trial(client: int, mechanism: str, outcome: TrialOutcome, **more: object) -> Trial:
    """One row for server 1 with logical names."""
    row = Trial(client=client, server=1, referencing="ln", context="ln", mechanism=mechanism, outcome=outcome)
    return replace(row, **more)


METER = Examination(
    endpoint=Endpoint(kind=EndpointKind.TCP, host="192.0.2.7", port=4059),
    protocol="dlms",
    framing="wrapper",
    facts=(
        Fact(
            name="suite",
            value="",
            note="not observable: the public client may not read the security setup",
            evidence=(2,),
        ),
        Fact(name="system_title", value="4b464d6550000001", evidence=(1,)),
    ),
    trials=(
        trial(16, "none", TrialOutcome.ACCEPTED, conformance="00101D", max_pdu=512, evidence=(0,)),
        trial(1, "lls", TrialOutcome.WANTS_SECRET, diagnostic="authentication-required", evidence=(1,)),
        trial(1, "gmac", TrialOutcome.WANTS_SECRET, evidence=(1,)),
        trial(1, "md5", TrialOutcome.REJECTED, result="rejected-permanent", diagnostic="no-reason-given"),
        trial(2, "lls", TrialOutcome.NOT_TRIED, note="the budget was spent"),
    ),
    evidence=(
        Evidence(probe="associate", at=5, sent=AARQ, received=AARE),
        Evidence(probe="x", at=9, sent=b"", received=b""),
    ),
    associations=4,
)


def test_each_client_has_what_was_accepted_or_wants_a_secret() -> None:
    management, other, public = matrix(METER).clients
    assert (management.client, management.role, management.modes) == (1, "management client", ("lls", "hls"))
    assert management.mechanisms == ("lls", "gmac")
    assert (other.client, other.mechanisms, other.untold) == (2, (), 1)
    assert (public.client, public.role, public.modes, public.max_pdu) == (16, "public client", ("none",), 512)
    assert public.conformance == ("block-transfer-with-get", "get", "set", "selective-access", "action")


def test_what_the_wire_does_not_show_is_not_observable_and_says_why() -> None:
    aspects = {each.name: each for each in matrix(METER).aspects}
    assert aspects["suite"].value == ""
    assert aspects["suite"].note == "the public client may not read the security setup"
    assert aspects["policy"].note == "nothing that went over the wire shows it"
    assert aspects["authentication"].value == "1:lls+gmac,16:none"
    assert aspects["clients"].value == "1,16"
    assert aspects["system_title"].value == "4b464d6550000001"
    assert "hdlc_window_receive" not in aspects
    _, rows = matrix(METER).aspects_table()
    assert ("suite", "not observable: the public client may not read the security setup", "2") in rows


def test_the_json_holds_the_octets_of_the_proof_and_can_be_written() -> None:
    document = json.loads(json.dumps(matrix(METER).to_json()))
    assert document["schema"] == "headend-association-report/1"
    accepted = next(row for row in document["trials"] if row["outcome"] == "accepted")
    proof = document["evidence"][accepted["evidence"][0]]
    assert (bytes.fromhex(proof["sent"]), bytes.fromhex(proof["received"])) == (AARQ, AARE)
    assert document["aspects"]["policy"] == {
        "value": None,
        "note": "nothing that went over the wire shows it",
        "evidence": [],
    }


def test_the_json_is_as_its_schema_says() -> None:
    text = files("headend.services.discovery").joinpath("association-report-1.schema.json").read_text(encoding="utf-8")
    schema = json.loads(text)
    for meter in (METER, replace(METER, trials=(), evidence=())):
        check(json.loads(json.dumps(matrix(meter).to_json())), schema)
    spoilt = matrix(METER).to_json() | {"associations": "4"}
    with pytest.raises(ConfigError, match="associations"):
        check(spoilt, schema)


def test_the_table_has_a_row_for_each_trial() -> None:
    columns, rows = matrix(METER).to_table()
    assert columns == ("client", "server", "context", "mechanism", "outcome", "detail", "evidence")
    assert rows[0][:5] == ("1 (management client)", "1", "ln", "lls", "wants-secret")
    assert rows[-1] == ("16 (public client)", "1", "ln", "none", "accepted", "512 octets", "0")
    assert ("2", "1", "ln", "lls", "not-tried", "the budget was spent", "") in rows


def test_a_meter_without_associations_reports_its_facts() -> None:
    meter = replace(METER, protocol="modbus", trials=(), facts=(Fact(name="functions", value="43:1"),))
    report = matrix(meter)
    assert [(each.name, each.value) for each in report.aspects] == [("functions", "43:1")]
    assert report.to_table()[1] == []


def test_the_bits_are_those_that_the_codec_names() -> None:
    for service in Conformance:
        words = service.name.lower().replace("_", "-") if service.name else ""
        assert conformance_names(f"{service.value:06x}") == (words,)
    assert len(BITS) == 24
    assert conformance_names("800000") == ("reserved-0",)
    with pytest.raises(DecodeError):
        conformance_names("0010")
