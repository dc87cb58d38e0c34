"""Octets in words. Nothing is sent to a meter, and nothing of a request is kept."""

from __future__ import annotations

from binascii import Error as NotBase64
from binascii import a2b_base64

from fastapi.responses import Response

from headend.drivers.decoding import decode_with, to_document
from headend.drivers.pasted import read_hex
from headend.drivers.registry import driver_names
from headend.errors import ConfigError
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
    document = to_document(found.layer)
    return ready({"protocol": found.protocol, "length": len(octets), "octets": octets.hex(), "layer": document})


def _octets(body: schemas.DecodeIn) -> bytes:
    if not body.base64:
        return read_hex(body.hex)
    if body.hex:
        raise ConfigError("base64: expected either hex or base64")
    try:
        return a2b_base64(body.base64, strict_mode=True)
    except (NotBase64, ValueError):
        raise ConfigError("base64: expected octets in base64") from None
