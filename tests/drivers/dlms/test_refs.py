"""References and parameters: what is accepted, how it is spelled, and how errors name what is wrong."""

from __future__ import annotations

import pytest

from headend.drivers.dlms import driver
from headend.drivers.dlms.parameters import Addressing, read_params
from headend.drivers.dlms.refs import cosem_ref
from headend.errors import ConfigError
from headend.model.reading import Value
from headend.protocols.dlms.acse import Mechanism
from headend.protocols.hdlc import HdlcConnection
from headend.protocols.wrapper import WrapperFraming


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("3/1-0:1.8.0.255/2", "3/1-0:1.8.0.255/2"),
        ("3/1-0:1.8.0", "3/1-0:1.8.0.255/2"),
        (" 8/0.0.1.0.0.255/3 ", "8/0-0:1.0.0.255/3"),
        ("9000/0-0:128.1.2.3/127", "9000/0-0:128.1.2.3/127"),
    ],
)
def test_references(text: str, canonical: str) -> None:
    ref = driver.parse_ref(text)
    assert str(ref) == f"dlms:{canonical}"
    assert driver.parse_ref(ref.address) == ref


@pytest.mark.parametrize(
    "text", ["", "3", "x/1-0:1.8.0", "3/1-0:1.8", "0/1-0:1.8.0", "3/1-0:1.8.0/0", "3/1-0:1.8.0/2/3", "3/1-0:1.8.0/٣"]
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(ConfigError):
        driver.parse_ref(text)


def test_descriptors() -> None:
    ref = cosem_ref("3/1-0:1.8.0.255/2")
    assert ref.attribute.encode() == bytes.fromhex("00030100010800ff02")
    assert ref.other(1).method.encode() == bytes.fromhex("00030100010800ff01")


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"colour": "red"}, "unknown parameter 'colour'"),
        ({"client": "0"}, "'client' of DLMS: expected 1 to 65535, got '0'"),
        ({"client": "x"}, "'client'"),
        ({"window": 8}, "'window' of DLMS: expected 1 to 7"),
        ({"auth": "magic"}, "'auth' of DLMS: expected none or lls"),
        ({"address_size": "3"}, "'address_size'"),
        ({"zone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"zone": "../x"}, "no time zone"),
        ({"device": "x" * 256}, "'device' of DLMS: expected at most 255"),
        ({"device": "ä"}, "'device'"),
        ({"network": 256}, "'network' of DLMS: expected 0 to 255"),
    ],
)
def test_wrong_parameters(params: dict[str, Value], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        driver.check_params(params)


def test_defaults() -> None:
    parameters = read_params("wrapper", {})
    assert parameters.addressing == Addressing("wrapper", 16, 1)
    assert parameters.mechanism is Mechanism.NONE
    assert isinstance(parameters.addressing.make_framing(), WrapperFraming)


def test_hdlc() -> None:
    params: dict[str, Value] = {
        "client": "1", "server": 1, "physical": "17", "address_size": "4", "max_info": 1024, "window": 3, "auth": "lls",
        "zone": "Europe/Berlin",
    }  # fmt: skip
    parameters = read_params("hdlc", params)
    assert parameters.addressing == Addressing("hdlc", 1, 1, 17, 4, 1024, 3)
    framing = parameters.addressing.make_framing()
    assert isinstance(framing, HdlcConnection)
    framing.open()
    assert framing.data_to_send()[3:8] == bytes.fromhex("00 02 00 23 03")


def test_the_referencing() -> None:
    assert read_params("wrapper", {"ref": "sn"}).short_names
    assert not read_params("wrapper", {"ref": "ln"}).short_names
    with pytest.raises(ConfigError, match="'ref' of DLMS: expected ln or sn"):
        read_params("wrapper", {"ref": "xn"})


def test_unknown_framings() -> None:
    with pytest.raises(ConfigError, match="unknown framing 'carrier-pigeon'"):
        read_params("carrier-pigeon", {})
