"""Octets in words. Nothing is sent to a meter, and nothing of a request is kept."""

from __future__ import annotations

from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Sequence
from contextlib import suppress

from fastapi.responses import Response

from headend.drivers.base import Driver, Secrets
from headend.drivers.decoding import decode_with, to_document, translate_with
from headend.drivers.pasted import read_hex
from headend.drivers.registry import driver_names
from headend.errors import CapabilityError, ConfigError, DecodeError
from headend.web.access import VIEWER
from headend.web.encode import ready
from headend.web.routes import Parts, router
from headend.web.routes.meters import read_secret
from headend.web.schemas import decode as schemas

api = router("decode")


@api.post("/decode", operation_id="decode", response_model=schemas.Decoded, openapi_extra=VIEWER)
def decode(body: schemas.DecodeIn, parts: Parts) -> Response:
    """Explain frames or a capture, layer by layer. Without `protocol` the drivers are asked whose frames they are."""
    octets = _octets(body)
    secrets = {name: read_secret(text, name) for name, text in body.keys.items() if text}
    drivers = [parts.driver(each) for each in ([body.protocol] if body.protocol else driver_names())]
    found = decode_with(drivers, octets, secrets, body.ports)
    answer = {
        "protocol": found.protocol,
        "length": len(octets),
        "octets": octets.hex(),
        "layer": to_document(found.layer),
        "xml": _xml(drivers, found.protocol, octets, secrets, body.ports) if body.xml else "",
    }
    return ready(answer)


def _xml(drivers: Sequence[Driver], protocols: str, octets: bytes, secrets: Secrets, ports: Sequence[int]) -> str:
    """The document of the first protocol that has a notation; empty where what is malformed cannot be written."""
    for each in drivers:
        if each.name in protocols.split(", "):
            with suppress(CapabilityError, DecodeError):
                return translate_with(each, octets, secrets, ports)
    return ""


def _octets(body: schemas.DecodeIn) -> bytes:
    if not body.base64:
        return read_hex(body.hex)
    if body.hex:
        raise ConfigError("base64: expected either hex or base64")
    try:
        return a2b_base64(body.base64, strict_mode=True)
    except (NotBase64, ValueError):
        raise ConfigError("base64: expected octets in base64") from None
