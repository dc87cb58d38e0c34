"""All APDUs of some octets in XML: framing is taken off, and what is ciphered is opened where there are keys. Pure."""

from __future__ import annotations

from typing import Final

from headend.drivers.base import Layer, Secrets
from headend.drivers.dlms.explaining.dialogue import Dialogue
from headend.drivers.dlms.explaining.explain import explain_dialogue
from headend.drivers.dlms.explaining.tags import APDU_NAMES, NESTED, SERVICE_CIPHERED
from headend.drivers.dlms.translating import apdus
from headend.drivers.dlms.translating.access import access_element
from headend.drivers.dlms.translating.acse import acse_element, initiate_element
from headend.drivers.dlms.translating.element import Element, holds, items, number, octets
from headend.drivers.dlms.translating.short import short_element
from headend.errors import DecodeError
from headend.protocols.dlms.acse import Aare, Aarq, Rlre, Rlrq
from headend.protocols.dlms.apdu.access import AccessRequest, AccessResponse
from headend.protocols.dlms.apdu.action import ActionRequest, ActionResponse
from headend.protocols.dlms.apdu.exception import ConfirmedServiceError, ExceptionResponse
from headend.protocols.dlms.apdu.get import GetRequest, GetResponse
from headend.protocols.dlms.apdu.notification import DataNotification, EventNotification
from headend.protocols.dlms.apdu.set import SetRequest, SetResponse
from headend.protocols.dlms.apdu.table import DECODERS, Apdu, decode_apdu
from headend.protocols.dlms.octets import Reader
from headend.protocols.dlms.security.ciphering import GENERAL_DEDICATED, GENERAL_GLOBAL, decode_general

_GENERAL: Final = {GENERAL_GLOBAL: "GeneralGloCiphering", GENERAL_DEDICATED: "GeneralDedCiphering"}
_BLOCK: Final = 0xE0
_DEEPEST: Final = 4


def translate(data: bytes, secrets: Secrets) -> str:
    """The document: the element of the only APDU, or all of them in `Messages`; raises DecodeError for one that is malformed."""
    dialogue = Dialogue(secrets)
    layer = explain_dialogue(data, dialogue)
    if not dialogue.heard:
        raise DecodeError("APDU", offset=0, expected="frames or APDUs of DLMS")
    try:
        elements = [_element(apdu, dialogue) for apdu in dialogue.heard]
    except DecodeError as error:
        raise DecodeError(_first_error(layer) or str(error)) from None  # with its place in the whole input
    whole = elements[0] if len(elements) == 1 else items("Messages", tuple(elements))
    return "\n".join(whole.lines()) + "\n"


def _element(apdu: bytes, dialogue: Dialogue, depth: int = 0) -> Element:
    """One APDU; what is not known here field by field stands as it is."""
    tag = apdu[0] if apdu else -1
    if depth > _DEEPEST:
        raise DecodeError("APDUs within APDUs", expected=f"at most {_DEEPEST} levels")
    if tag in DECODERS:
        return _decoded(decode_apdu(apdu), dialogue, depth)
    if tag in NESTED:
        return initiate_element(apdu)
    plain = dialogue.plain(apdu)
    inside = () if plain is None else (_element(plain, dialogue, depth + 1),)
    if tag in SERVICE_CIPHERED:
        prefix, _, name = SERVICE_CIPHERED[tag].partition("-")
        return Element(f"{prefix}_{_camel(name)}", ("Value", _content(apdu)), inside)
    if tag in _GENERAL:
        title, sealed = decode_general(apdu)
        return holds(_GENERAL[tag], octets("SystemTitle", title), octets("CipheredService", sealed), *inside)
    if tag == _BLOCK:
        return _block(apdu)
    return Element(_camel(APDU_NAMES.get(tag, "pdu")), ("Value", apdu.hex().upper()), inside)


def _decoded(apdu: Apdu, dialogue: Dialogue, depth: int) -> Element:
    if isinstance(apdu, Aarq | Aare | Rlrq | Rlre):
        return acse_element(apdu, lambda inner: _element(inner, dialogue, depth + 1))
    if isinstance(apdu, ExceptionResponse | ConfirmedServiceError):
        return apdus.refusal_element(apdu)
    if isinstance(apdu, DataNotification | EventNotification):
        return apdus.notification_element(apdu)
    if isinstance(apdu, GetRequest | GetResponse):
        return apdus.get_element(apdu)
    if isinstance(apdu, SetRequest):
        return apdus.set_request(apdu)
    if isinstance(apdu, SetResponse):
        return apdus.set_response(apdu)
    if isinstance(apdu, ActionRequest):
        return apdus.action_request(apdu)
    if isinstance(apdu, ActionResponse):
        return apdus.action_response(apdu)
    if isinstance(apdu, AccessRequest | AccessResponse):
        return access_element(apdu)
    return short_element(apdu)


def _first_error(layer: Layer) -> str:
    return layer.error or next(filter(None, map(_first_error, layer.layers)), "")


def _content(apdu: bytes) -> str:
    """What follows tag and length of a ciphered APDU, also of one that is cut short."""
    reader = Reader(apdu, 1)
    return reader.string("ciphered APDU").hex().upper()


def _block(apdu: bytes) -> Element:
    reader = Reader(apdu, 1)
    control = number("BlockControl", reader.u8("block control"))
    numbers = (
        number("BlockNumber", reader.u16("block number"), 2),
        number("BlockNumberAck", reader.u16("block number"), 2),
    )
    return holds("GeneralBlockTransfer", control, *numbers, octets("BlockData", reader.string("block data")))


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("-"))
