"""PDUs against the examples of the MODBUS Application Protocol Specification V1.1b3, clause 6."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend import errors
from headend.protocols.modbus import pdu
from headend.protocols.modbus.pdu import (
    DeviceIdentificationResponse,
    ExceptionResponse,
    InvalidRequest,
    ReadDeviceIdentification,
    ReadRequest,
    ReadResponse,
    ReportServerId,
    ServerIdResponse,
    WriteMultiple,
    WriteMultipleResponse,
    WriteSingle,
)

REQUESTS = {
    "01 0013 0013": ReadRequest(1, 19, 19),  # discrete outputs 20 to 38
    "02 00C4 0016": ReadRequest(2, 196, 22),  # discrete inputs 197 to 218
    "03 006B 0003": ReadRequest(3, 107, 3),  # holding registers 108 to 110
    "04 0008 0001": ReadRequest(4, 8, 1),  # input register 9
    "05 00AC FF00": WriteSingle(5, 172, 0xFF00),  # output 173 on
    "06 0001 0003": WriteSingle(6, 1, 3),  # register 2 becomes 3
    "0F 0013 000A 02 CD01": WriteMultiple(15, 19, 10, b"\xcd\x01"),  # ten outputs from 20
    "10 0001 0002 04 000A0102": WriteMultiple(16, 1, 2, b"\0\x0a\1\2"),  # two registers from 2
    "11": ReportServerId(),
    "2B 0E 01 00": ReadDeviceIdentification(),  # basic identification
}
RESPONSES = {
    "01 03 CD6B05": ReadResponse(1, b"\xcd\x6b\x05"),
    "02 03 ACDB35": ReadResponse(2, b"\xac\xdb\x35"),
    "03 06 022B00000064": ReadResponse(3, b"\x02\x2b\0\0\0\x64"),  # 555, 0, 100
    "04 02 000A": ReadResponse(4, b"\0\x0a"),
    "05 00AC FF00": WriteSingle(5, 172, 0xFF00),
    "06 0001 0003": WriteSingle(6, 1, 3),
    "0F 0013 000A": WriteMultipleResponse(15, 19, 10),
    "10 0001 0002": WriteMultipleResponse(16, 1, 2),
    "11 05 01 FF 414243": ServerIdResponse(b"\x01\xffABC"),
    "2B 0E 01 01 FF 02 02 00 03 414243 01 02 5858": DeviceIdentificationResponse(
        1, 1, more_follows=True, next_object_id=2, objects=((0, b"ABC"), (1, b"XX"))
    ),
    "81 02": ExceptionResponse(1, 2),  # read of output 1186 in a device with 512
    "AB 03": ExceptionResponse(43, 3),
}


@pytest.mark.parametrize(("octets", "request_"), REQUESTS.items())
def test_requests_of_the_specification(octets: str, request_: Any) -> None:
    assert pdu.decode_request(bytes.fromhex(octets)) == request_
    assert pdu.encode_request(request_) == bytes.fromhex(octets)


@pytest.mark.parametrize(("octets", "response"), RESPONSES.items())
def test_responses_of_the_specification(octets: str, response: Any) -> None:
    assert pdu.decode_response(bytes.fromhex(octets)) == response
    assert pdu.encode_response(response) == bytes.fromhex(octets)


@pytest.mark.parametrize("octets", ["", "00", "80", "FF 01"])
def test_what_is_no_request(octets: str) -> None:
    with pytest.raises(errors.DecodeError):
        pdu.decode_request(bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        ("07", 1),
        ("2B", 1),
        ("2B 0D 00 00", 1),
        ("2B 0E 01", 3),
        ("2B 0E 05 00", 3),
        ("11 00", 3),
        ("03 0000", 3),
        ("03 0000 0001 00", 3),
        ("03 0000 0000", 3),
        ("03 0000 007E", 3),
        ("01 0000 07D1", 3),
        ("04 FFFF 0002", 2),
        ("05 0000 0001", 3),
        ("06 0000", 3),
        ("10 0000", 3),
        ("10 0000 0001 02 00", 3),
        ("10 0000 0002 02 0001", 3),
        ("10 0000 0000 00", 3),
        ("0F 0000 0009 01 FF", 3),
    ],
)
def test_requests_that_must_be_refused(octets: str, code: int) -> None:
    data = bytes.fromhex(octets)
    assert pdu.decode_request(data) == InvalidRequest(data[0], code)


@pytest.mark.parametrize(
    "request_",
    [
        ReadRequest(5, 0, 1),
        ReadRequest(3, -1, 1),
        ReadRequest(3, 0, 126),
        WriteSingle(3, 0, 0),
        WriteSingle(5, 0, 1),
        WriteSingle(6, 0, 0x10000),
        WriteMultiple(6, 0, 1, b"\0\0"),
        WriteMultiple(16, 0, 1, b"\0"),
        ReadDeviceIdentification(0, 0),
        ReadDeviceIdentification(4, 256),
    ],
)
def test_we_do_not_send_what_the_standard_forbids(request_: Any) -> None:
    with pytest.raises(errors.LocalProtocolError):
        pdu.encode_request(request_)


@pytest.mark.parametrize(
    "response",
    [
        ReadResponse(3, bytes(252)),
        ServerIdResponse(bytes(400)),
        DeviceIdentificationResponse(1, 1, more_follows=False, next_object_id=0, objects=((0, bytes(300)),)),
    ],
)
def test_responses_beyond_a_pdu(response: Any) -> None:
    with pytest.raises(errors.LocalProtocolError):
        pdu.encode_response(response)


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "07 00",
        "03",
        "03 04 0000",
        "03 02 000000",
        "06 0000 00",
        "10 0000 000000",
        "83",
        "83 02 00",
        "11 05 01",
        "2B 0E 01 01 00 00",
        "2B 0D 01 01 00 00 00",
        "2B 0E 01 01 00 00 01",
        "2B 0E 01 01 00 00 01 00",
        "2B 0E 01 01 00 00 01 00 02 41",
        "2B 0E 01 01 00 00 00 00",
    ],
)
def test_broken_responses(octets: str) -> None:
    with pytest.raises(errors.DecodeError):
        pdu.decode_response(bytes.fromhex(octets))


@given(st.binary(max_size=260))
def test_decoders_raise_nothing_else(data: bytes) -> None:
    for decode in (pdu.decode_request, pdu.decode_response):
        try:
            decode(data)
        except errors.DecodeError:
            continue


@pytest.mark.parametrize(
    ("code", "error", "retryable"),
    [
        (0x01, errors.ServiceRefused, False),
        (0x02, errors.ObjectUndefined, False),
        (0x03, errors.ServiceRefused, False),
        (0x04, errors.ServiceRefused, False),
        (0x05, errors.Busy, True),
        (0x06, errors.Busy, True),
        (0x08, errors.ServiceRefused, False),
        (0x0A, errors.ConnectRefused, True),
        (0x0B, errors.LinkTimeout, True),
        (0x63, errors.ServiceRefused, False),
    ],
)
def test_exceptions_become_errors_of_the_tree(code: int, error: type[errors.HeadendError], retryable: bool) -> None:
    raised = ExceptionResponse(4, code).to_error()
    assert type(raised) is error
    assert raised.retryable is retryable


def test_exceptions_have_names() -> None:
    assert ExceptionResponse(4, 2).name == "illegal data address"
    assert ExceptionResponse(4, 0x63).name == "exception 0x63"
    assert ExceptionResponse(3, 1).to_error().reason == "illegal function"


READ = ReadRequest(4, 0, 2)


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (READ, ReadResponse(4, bytes(4))),
        (READ, ExceptionResponse(4, 2)),
        (ReadRequest(1, 0, 9), ReadResponse(1, bytes(2))),
        (WriteSingle(6, 1, 2), WriteSingle(6, 1, 2)),
        (WriteMultiple(16, 1, 1, bytes(2)), WriteMultipleResponse(16, 1, 1)),
        (ReportServerId(), ServerIdResponse(b"")),
    ],
)
def test_answers_that_fit(request_: Any, response: Any) -> None:
    pdu.check_answer(request_, response)


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (READ, ReadResponse(3, bytes(4))),
        (READ, ReadResponse(4, bytes(2))),
        (READ, ExceptionResponse(3, 2)),
        (WriteSingle(6, 1, 2), WriteSingle(6, 1, 3)),
        (WriteMultiple(16, 1, 1, bytes(2)), WriteMultipleResponse(16, 1, 2)),
    ],
)
def test_answers_that_do_not_fit(request_: Any, response: Any) -> None:
    with pytest.raises(errors.RemoteProtocolError):
        pdu.check_answer(request_, response)
