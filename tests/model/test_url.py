from __future__ import annotations

import dataclasses

import pytest

from headend.errors import ConfigError
from headend.model.meter import EndpointKind
from headend.model.url import format_url, parse_url


@pytest.mark.parametrize(
    "text",
    [
        "dlms://192.0.2.7:4059",
        "dlms://meter.example:4061?client=1&server=1&auth=lls&profile=generic-dlms-3p",
        "dlms+udp://192.0.2.7:4059",
        "dlms+hdlc://192.0.2.7:3333?server=1&physical=17",
        "dlms+apdu://192.0.2.7:8899?client=1",
        "inbound://210600402941?protocol=dlms&framing=apdu",
        "dlms+serial:///dev/ttyUSB0?mode_e=1&baud=300",
        "dlt645://192.0.2.7:8899/000000001234",
        "dlt645+serial:///dev/ttyUSB0/000000001234?baud=2400",
        "dlt645+serial:///dev/ttyUSB0/000000001234?baud=9600&line=8N1",
        "modbus://192.0.2.7:502/3?profile=eastron-sdm630",
        "modbus+rtu://[2001:db8::1]:4196/1",
        "modbus+serial:///dev/ttyUSB0/17?baud=9600",
        "inbound://210600402941?protocol=dlms&framing=wrapper",
        "inbound://4b414d4501349083?protocol=dlms",
        "inbound://4b414d4501349083",
    ],
)
def test_parse_and_format_are_inverse(text: str) -> None:
    assert format_url(parse_url(text).meter("m")) == text


def test_default_ports_and_wire() -> None:
    url = parse_url("dlms://192.0.2.7")
    assert (url.protocol, url.framing, url.endpoint.port) == ("dlms", "wrapper", 4059)
    assert parse_url("modbus://h/1").endpoint.wire == parse_url("modbus://h:502/2").endpoint.wire
    serial = parse_url("modbus+serial:///dev/ttyUSB0/17?baud=2400").endpoint
    assert (serial.kind, serial.path, serial.baud) == (EndpointKind.SERIAL, "/dev/ttyUSB0", 2400)
    chinese = parse_url("dlt645+serial:///dev/ttyUSB0/1234").endpoint
    assert (chinese.baud, chinese.line, serial.line) == (2400, "8E1", "8N1")


def test_secrets_are_taken_apart_and_never_shown() -> None:
    url = parse_url("dlms://h?auth=lls&secret=text:12345678&ek=env:EK")
    assert dict(url.secrets) == {"secret": "text:12345678", "ek": "env:EK"}
    assert "12345678" not in repr(url)
    assert format_url(url.meter("m")) == "dlms://h:4059?auth=lls"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ftp://h", "scheme"),
        ("h:4059", "scheme"),
        ("dlms://", "host"),
        ("dlms+hdlc://h", "port"),
        ("dlms://h:99999", "not a meter URL"),
        ("dlms://user:pw@h", "user name"),
        ("dlms+serial://ttyUSB0", "device"),
        ("dlms://h?client=1&client=2", "twice"),
        ("dlms://h?secret=12345678", "where the secret is"),
        ("dlms+serial:///dev/ttyS0?baud=fast", "baud"),
    ],
)
def test_wrong_urls_say_what_is_expected(text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        parse_url(text)
    assert "12345678" not in str(caught.value)
    assert "12345678" not in caught.value.hint


def test_a_framing_that_a_protocol_does_not_have_has_no_url() -> None:
    meter = parse_url("modbus://localhost/1").meter("m")
    with pytest.raises(ConfigError, match="modbus has no framing 'pigeon' over tcp"):
        format_url(dataclasses.replace(meter, framing="pigeon"))
