"""Requests and answers: vectors of real meters and of the standard, refusals, defects, round trips in both versions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import (
    AccessDenied,
    AuthenticationFailed,
    CapabilityError,
    DecodeError,
    HeadendError,
    LocalProtocolError,
    ObjectUndefined,
    ServiceRefused,
)
from headend.protocols.dlt645 import requests as ask
from headend.protocols.dlt645.fields import ControlCommand, OutputSignal, Password, to_bcd
from headend.protocols.dlt645.frame import ANYBODY, Address, Frame, decode_frame, encode_frame
from headend.protocols.dlt645.messages import (
    FUNCTIONS,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    function_code,
)
from headend.protocols.dlt645.moment import Moment
from headend.protocols.dlt645.responses import Confirmation, Data, ErrorBit, MeterAddress, Refusal, Response
from headend.standards.dlt645 import Version

V2007, V1997 = Version.V2007, Version.V1997
SECRET = Password.parse("020637", 2)
OPERATOR = bytes.fromhex("01000000")

REQUESTS: list[tuple[str, Version, str, ask.Request]] = [
    ("real meter: voltage", V2007, "68 459266230010 68 11 04 33343435 25 16", ask.Read(0x02010100)),
    ("real meter: energy of 1997", V1997, "68 423600008609 68 01 02 43C4 E1 16", ask.Read(0x9110)),
    ("load records", V2007, "68 010000000000 68 11 05 33333339 38 F1 16", ask.Read(0x06000000, 5)),
    (
        "load records from a minute on",
        V2007,
        "68 010000000000 68 11 0A 33333339 38 63454C3557 76 16",
        ask.Read(0x06000000, 5, Moment(2024, 2, 19, None, 12, 30)),
    ),
    ("what follows", V2007, "68 785634120000 68 12 05 33323433 34 FB 16", ask.ReadFollowing(0x0001FF00, 1)),
    ("what follows in 1997", V1997, "68 010000000000 68 02 02 52C3 EA 16", ask.ReadFollowing(0x901F)),
    ("once more", V1997, "68 010000000000 68 03 02 52C3 EB 16", ask.ReRead(0x901F)),
    ("who is there", V2007, "68 AAAAAAAAAAAA 68 13 00 DF 16", ask.ReadAddress()),
    (
        "real meter: trip",
        V2007,
        "68 611001301215 68 1C 10 356A3935 34333333 4D 33 33333363 45CC 2C 16",
        ask.Control(SECRET, ControlCommand.TRIP, Moment(2099, 12, 30, None, 0, 0, 0), OPERATOR),
    ),
    (
        "real meter: permit to close",
        V2007,
        "68 611001301215 68 1C 10 356A3935 34333333 4E 33 33333363 45CC 2D 16",
        ask.Control(SECRET, ControlCommand.PERMIT_CLOSE, Moment(2099, 12, 30, None, 0, 0, 0), OPERATOR),
    ),
    (
        "real broadcast: time",
        V2007,
        "68 999999999999 68 08 06 845543 38394A 4B 16",
        ask.SetTime(Moment(2017, 6, 5, None, 10, 22, 51)),
    ),
    ("freeze now", V2007, "68 999999999999 68 16 04 CCCCCCCC B0 16", ask.Freeze()),
    ("freeze at midnight", V2007, "68 785634120000 68 16 04 3333CCCC FC 16", ask.Freeze(Moment(hour=0, minute=0))),
    ("2400 baud", V2007, "68 010012011920 68 17 01 3B 70 16", ask.ChangeBaudRate(2400)),
    (
        "new address",
        V2007,
        "68 AAAAAAAAAAAA 68 15 06 AB8967453333 2D 16",
        ask.WriteAddress(Address.parse("000012345678")),
    ),
    (
        "clear the demand",
        V2007,
        "68 785634120000 68 19 08 35333333 34333333 A0 16",
        ask.ClearDemand(Password(2, bytes(3)), OPERATOR),
    ),
    ("clear the demand in 1997", V1997, "68 785634120000 68 10 00 F4 16", ask.ClearDemand()),
    (
        "clear the meter",
        V2007,
        "68 785634120000 68 1A 08 35333333 34333333 A1 16",
        ask.ClearMeter(Password(2, bytes(3)), OPERATOR),
    ),
    (
        "clear all events",
        V2007,
        "68 785634120000 68 1B 0C 35333333 34333333 32323232 6E 16",
        ask.ClearEvents(Password(2, bytes(3)), OPERATOR),
    ),
]


@pytest.mark.parametrize(("name", "version", "octets", "request_"), REQUESTS)
def test_requests(name: str, version: Version, octets: str, request_: ask.Request) -> None:
    wire = bytes.fromhex(octets)
    frame, end = decode_frame(wire)
    assert end == len(wire), name
    assert decode_request(frame.control, frame.data, version) == request_
    control, data = encode_request(request_, version)
    assert encode_frame(Frame(frame.address, control, data), leader=0) == wire


RESPONSES: list[tuple[str, Version, str, Response]] = [
    ("real meter: 237.1 V", V2007, "68 340100141223 68 91 06 33343435A456 AF 16", Data(0x02010100, b"\x71\x23")),
    ("1997", V1997, "68 953206000000 68 81 06 43C348333333 0B 16", Data(0x9010, bytes.fromhex("15000000"))),
    (
        "what follows, the last",
        V2007,
        "68 785634120000 68 92 09 33323433 44556677 34 F5 16",
        Data(0x0001FF00, bytes.fromhex("11223344"), more=False, sequence=1),
    ),
    (
        "more follows",
        V2007,
        "68 785634120000 68 B1 06 33323433 4455 00 16",
        Data(0x0001FF00, bytes.fromhex("1122"), more=True),
    ),
    (
        "more follows in 1997",
        V1997,
        "68 785634120000 68 A1 04 52C3 4455 37 16",
        Data(0x901F, bytes.fromhex("1122"), more=True),
    ),
    (
        "real meter: address",
        V2007,
        "68 206431320300 68 93 06 53976465 3633 6F 16",
        MeterAddress(Address.parse("332316420")),
    ),
    ("address written", V2007, "68 785634120000 68 95 00 79 16", Confirmation()),
    ("rate", V2007, "68 785634120000 68 97 01 3B B7 16", Confirmation(b"\x08")),
    ("password", V2007, "68 785634120000 68 98 04 35896745 EA 16", Confirmation(bytes.fromhex("02563412"))),
    ("real meter: no such data", V2007, "68 370300928139 68 D1 01 35 5D 16", Refusal(2)),
    ("real meter: 1997", V1997, "68 953206000000 68 C1 01 35 94 16", Refusal(2)),
    ("real meter: 1997, write", V1997, "68 346917081720 68 C4 01 34 BC 16", Refusal(1)),
    ("prepayment meter", V2007, "68 785634120000 68 DC 02 3733 2C 16", Refusal(4, b"\0")),
]


@pytest.mark.parametrize(("name", "version", "octets", "response"), RESPONSES)
def test_responses(name: str, version: Version, octets: str, response: Response) -> None:
    wire = bytes.fromhex(octets)
    frame, end = decode_frame(wire)
    assert end == len(wire), name
    assert decode_response(frame.control, frame.data, version) == response
    control, data = encode_response(response, frame.control & 0x1F, version)
    assert encode_frame(Frame(frame.address, control, data), leader=0) == wire


BAD_REQUESTS = [
    ("answer", V2007, 0x91, "00000100", "no request has this control code .*got 91"),
    ("function-unknown", V2007, 0x05, "", "no request has this control code .*got 05"),
    ("function-of-1997", V2007, 0x01, "1090", "no request"),
    ("function-of-2007", V1997, 0x13, "", "no request"),
    ("read-too-short", V2007, 0x11, "000001", "wrong length .*expected 4 or 5 or 10 octets, got 3"),
    ("read-too-long-in-1997", V1997, 0x01, "00010001", "expected 2 octets, got 4"),
    ("blocks-not-bcd", V2007, 0x11, "00000106 0A", "not BCD .*octet 4"),
    ("blocks-absent", V2007, 0x11, "00000106 FF", "no number of blocks .*octet 4"),
    ("blocks-from-no-month", V2007, 0x11, "00000106 01 0000001324", "month out of range .*octet 8"),
    ("following-without-sequence", V2007, 0x12, "00FF0100", "wrong length"),
    ("address-with-data", V2007, 0x13, "00", "wrong length .*expected 0"),
    ("write-without-password", V2007, 0x14, "0E010004 02000000", "cut off .*expected at least 12 octets, got 8"),
    ("write-of-nothing-in-1997", V1997, 0x04, "10", "cut off"),
    ("address-not-bcd", V2007, 0x15, "0F0000000000", "not an address"),
    ("address-too-short", V2007, 0x15, "0000000000", "wrong length"),
    ("time-cut-off", V2007, 0x08, "000000", "wrong length"),
    ("time-absent", V2007, 0x08, "FFFFFFFFFFFF", "no time .*octet 0, .*got FF"),
    ("control-until-never", V2007, 0x1C, "02000000 01000000 1A 00 FFFFFFFFFFFF", "no time .*octet 10"),
    ("freeze-absent", V2007, 0x16, "FFFFFFFF", "no time .*octet 0"),
    ("blocks-from-absent", V2007, 0x11, "00000106 01 FFFFFFFFFF", "no time .*octet 5"),
    ("freeze-of-no-month", V2007, 0x16, "00000013", "month out of range .*octet 3"),
    ("two-rates", V2007, 0x17, "0C", "wrong baud rate .*octet 0, expected one of bits 1 to 6, got 0C"),
    ("no-rate", V1997, 0x0C, "", "wrong length"),
    ("password-of-1997", V2007, 0x18, "0200000002000000", "wrong length .*expected 12"),
    ("password-of-2007", V1997, 0x0F, "0100000C0200000002000000", "wrong length .*expected 8"),
    ("demand-with-password", V1997, 0x10, "02000000", "wrong length .*expected 0"),
    ("demand-without-operator", V2007, 0x19, "02000000", "wrong length .*expected 8"),
    ("meter-without-operator", V2007, 0x1A, "02000000", "wrong length .*expected 8"),
    ("events-without-kind", V2007, 0x1B, "0200000001000000", "wrong length .*expected 12"),
    ("control-sealed", V2007, 0x1C, "98" * 28, "wrong length .*expected 16 octets, got 28"),
    ("control-until-no-day", V2007, 0x1C, "02000000 01000000 1A 00 000000 99 1324", "month out of range .*octet 14"),
    ("two-signals", V2007, 0x1D, "0001", "wrong length .*expected 1"),
    ("module-without-operator", V2007, 0x03, "01000007", "cut off .*at least 8"),
]


@pytest.mark.parametrize(("defect", "version", "control", "octets", "message"), BAD_REQUESTS)
def test_defects_of_requests(defect: str, version: Version, control: int, octets: str, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode_request(control, bytes.fromhex(octets), version)
    assert defect


BAD_RESPONSES = [
    ("request", V2007, 0x11, "00000100", "no answer has this control code .*got 11"),
    ("function-unknown", V2007, 0x85, "", "no answer"),
    ("refusal-without-word", V2007, 0xD1, "", "cut off .*at least 1 octets, got 0"),
    ("data-without-identifier", V2007, 0x91, "000001", "cut off .*at least 4"),
    ("following-without-sequence", V2007, 0x92, "00FF0100", "cut off .*at least 5"),
    ("address-not-bcd", V2007, 0x93, "0A0000000000", "not an address"),
]


@pytest.mark.parametrize(("defect", "version", "control", "octets", "message"), BAD_RESPONSES)
def test_defects_of_responses(defect: str, version: Version, control: int, octets: str, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode_response(control, bytes.fromhex(octets), version)
    assert defect


passwords = st.builds(Password, st.integers(0, 255), st.binary(min_size=3, max_size=3))
operators = st.binary(min_size=4, max_size=4)
minutes = st.builds(
    Moment,
    st.integers(2000, 2099),
    st.integers(1, 12),
    st.integers(1, 31),
    st.none(),
    st.integers(0, 23),
    st.integers(0, 59),
)
times = st.builds(
    lambda minute, second: Moment(
        *(getattr(minute, f) for f in ("year", "month", "day", "weekday", "hour", "minute")), second
    ),
    minutes,
    st.integers(0, 59),
)
recurring = st.builds(
    lambda minute: Moment(month=minute.month, day=None, hour=minute.hour, minute=minute.minute), minutes
)
meters = st.integers(0, 10**12 - 1).map(str).map(Address.parse)
dis = {V2007: st.integers(0, 0xFFFFFFFF), V1997: st.integers(0, 0xFFFF)}
octets_ = st.binary(max_size=30)


def requests_of(version: Version) -> st.SearchStrategy[ask.Request]:
    di = dis[version]
    both = [
        st.builds(ask.Read, di),
        st.builds(ask.SetTime, times),
        st.builds(ask.WriteAddress, meters),
        st.builds(ask.ChangeBaudRate, st.sampled_from([600, 1200, 2400, 4800, 9600, 19200])),
    ]
    if version is V1997:
        return st.one_of(
            *both,
            st.builds(ask.ReadFollowing, di),
            st.builds(ask.ReRead, di),
            st.builds(ask.Write, di, octets_),
            st.builds(ask.ChangePassword, passwords, passwords),
            st.just(ask.ClearDemand()),
        )
    return st.one_of(
        *both,
        st.builds(ask.Read, di, st.integers(0, 99), st.none() | minutes),
        st.builds(ask.ReadFollowing, di, st.integers(0, 255)),
        st.just(ask.ReadAddress()),
        st.builds(ask.Write, di, octets_, passwords, operators),
        st.builds(ask.Freeze, recurring),
        st.builds(ask.ChangePassword, passwords, passwords, di),
        st.builds(ask.ClearDemand, passwords, operators),
        st.builds(ask.ClearMeter, passwords, operators),
        st.builds(ask.ClearEvents, passwords, operators, di),
        st.builds(ask.Control, passwords, st.integers(0, 255), times, operators, st.integers(0, 255)),
        st.builds(ask.SetOutput, st.sampled_from(OutputSignal)),
        st.builds(ask.Authenticate, di, operators, octets_),
    )


@given(st.sampled_from(Version).flatmap(lambda version: st.tuples(st.just(version), requests_of(version))))
def test_requests_come_back(pair: tuple[Version, ask.Request]) -> None:
    version, request = pair
    control, data = encode_request(request, version)
    assert decode_request(control, data, version) == request


@given(st.sampled_from(Version), st.integers(0, 255), octets_)
def test_any_octets_are_a_message_or_a_decode_error(version: Version, control: int, data: bytes) -> None:
    try:
        request = decode_request(control, data, version)
        assert decode_request(*encode_request(request, version), version) == request
    except DecodeError:
        pass
    try:
        response = decode_response(control, data, version)
    except DecodeError:
        return
    again = encode_response(response, control & 0x1F, version)
    assert decode_response(*again, version) == response


def test_every_request_has_one_function_in_each_version_that_knows_it() -> None:
    for version, table in FUNCTIONS.items():
        assert len(set(table.values())) == len(table)
        assert len(table) == {V2007: 15, V1997: 9}[version]
    with pytest.raises(CapabilityError, match="DL/T 645-1997 has no request ReadAddress"):
        function_code(ask.ReadAddress(), V1997)
    with pytest.raises(CapabilityError, match="DL/T 645-2007 has no request ReRead"):
        encode_request(ask.ReRead(0x9010), V2007)
    assert encode_request(ask.InvalidRequest(0x05, b"\1"), V2007) == (0x05, b"\1")


@pytest.mark.parametrize(
    ("version", "request_", "message"),
    [
        (V2007, ask.Read(1 << 32), "does not have the 4 octets of 2007"),
        (V1997, ask.Read(0x00010000), "10000 does not have the 2 octets of 1997"),
        (V1997, ask.Read(0x9010, 1), "reading blocks"),
        (V2007, ask.Read(0, None, Moment(2024)), "reading blocks"),
        (V2007, ask.Read(0, 100), "does not fit"),
        (V2007, ask.ReadFollowing(0), "sequence number None"),
        (V2007, ask.ReadFollowing(0, 256), "sequence number 256"),
        (V2007, ask.Write(0, b""), "wants a password"),
        (V2007, ask.Write(0, b"", SECRET, b"1"), "operator code has four octets"),
        (V2007, ask.ClearDemand(), "wants a password"),
        (V2007, ask.ChangePassword(SECRET, SECRET), "data identifier of the password"),
        (V2007, ask.ChangeBaudRate(300), "does not know 300 baud"),
        (V2007, ask.Control(SECRET, 256, Moment()), "one octet"),
        (V2007, ask.SetOutput(-1), "one octet"),
        (V2007, ask.SetTime(Moment(1999)), "does not fit"),
    ],
)
def test_what_cannot_be_sent(version: Version, request_: ask.Request, message: str) -> None:
    with pytest.raises(LocalProtocolError, match=message):
        encode_request(request_, version)


def test_a_write_of_1997_may_have_a_password() -> None:
    control, data = encode_request(ask.Write(0xC032, b"\x12", SECRET), V1997)
    assert (control, data) == (0x04, bytes.fromhex("32C0 02370602 12"))
    assert decode_request(control, data, V1997) == ask.Write(0xC032, bytes.fromhex("02370602 12"))


def test_secrets_do_not_show() -> None:
    shown: list[Any] = [
        SECRET,
        ask.Write(0, b"020637", SECRET),
        ask.ChangePassword(SECRET, SECRET),
        ask.ClearMeter(SECRET),
        ask.ClearDemand(SECRET),
        ask.ClearEvents(SECRET),
        ask.Control(SECRET, 0x1A, Moment()),
        Confirmation(SECRET.to_octets()),
        ask.InvalidRequest(0x18, SECRET.to_octets()),
        ask.Authenticate(0, data=b"020637"),
    ]
    for each in shown:
        for written in (repr(each), str(each)):
            assert not any(part in written for part in ("020637", "370602", "x06", "b'7", "octets=")), written


def test_passwords() -> None:
    assert Password.parse("020637", 2).to_octets() == bytes.fromhex("02 370602")
    assert Password.parse("123456", 98).to_octets() == bytes.fromhex("98 563412")
    for digits in ("12345", "1234567", "12345A", "１２３４５６"):  # noqa: RUF001 - digits that are none
        with pytest.raises(ValueError, match="six digits") as caught:
            Password.parse(digits, 2)
        assert digits not in str(caught.value)
    for level in (-1, 100):
        with pytest.raises(ValueError, match="two digits"):
            to_bcd(level)
    for level, octets in ((256, bytes(3)), (0, bytes(4))):
        with pytest.raises(LocalProtocolError, match="a password is"):
            Password(level, octets)


@pytest.mark.parametrize(
    ("error", "password_sent", "kind", "reason"),
    [
        (ErrorBit.NO_SUCH_DATA, False, ObjectUndefined, "no such data"),
        (ErrorBit.NOT_AUTHORISED, False, AccessDenied, "wrong password or not authorised"),
        (ErrorBit.NOT_AUTHORISED, True, AuthenticationFailed, "wrong password or not authorised"),
        (ErrorBit.NOT_AUTHORISED | ErrorBit.OTHER, True, AuthenticationFailed, "another error, wrong password"),
        (ErrorBit.OTHER, True, ServiceRefused, "another error"),
        (ErrorBit.BAUD_RATE, False, ServiceRefused, "speed"),
        (ErrorBit.TARIFFS, False, ServiceRefused, "tariffs"),
        (0, False, ServiceRefused, "no reason given"),
    ],
)
def test_refusals_are_errors(error: int, password_sent: bool, kind: type[HeadendError], reason: str) -> None:
    made = Refusal(error, b"\x10").to_error(password_sent=password_sent)
    assert type(made) is kind
    assert reason in str(made)
    assert f"error word {error:02X}10" in str(made)
    assert not made.retryable
    assert ANYBODY.has_wildcard
