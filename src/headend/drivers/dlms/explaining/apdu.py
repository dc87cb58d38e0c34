"""xDLMS APDUs, field by field (IEC 62056-5-3): GET, SET, ACTION, ACCESS, notifications, refusals. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Final

from headend.drivers.base import Layer
from headend.drivers.dlms.explaining import acse, ciphered, short
from headend.drivers.dlms.explaining.data import data_layer, node_layer
from headend.drivers.dlms.explaining.dialogue import Dialogue
from headend.drivers.dlms.explaining.parts import (
    SECRET_ATTRIBUTES,
    SECRET_METHODS,
    access_result,
    action_result,
    attribute,
    block,
    date_time,
    invoke_id,
    long_invoke_id,
    many,
    method,
    one_value,
    result,
    selected,
    selection,
    values,
)
from headend.drivers.dlms.explaining.readings import is_positional, readings_layer
from headend.drivers.dlms.explaining.scribe import Octets, Scribe, words
from headend.drivers.dlms.explaining.tags import APDU_NAMES, GENERAL_CIPHERED, NESTED, SERVICE_CIPHERED
from headend.drivers.dlms.explaining.words import (
    hex_text,
)
from headend.drivers.dlms.nodes import read_data
from headend.errors import DecodeError, HeadendError, RemoteProtocolError
from headend.protocols.dlms.apdu.exception import ERRORS, SERVICES, ServiceError, StateError

_DEEPEST: Final = 4
"""Levels of APDUs within APDUs; real ones have two."""

_POSITIONAL: Final = "values without OBIS codes, as some meters push them: the place in the list tells what they are"

_KINDS: Final[Mapping[int, Mapping[int, str]]] = MappingProxyType(
    {
        0xC0: {1: "normal", 2: "next", 3: "with-list"},
        0xC1: {1: "normal", 2: "with-first-datablock", 3: "with-datablock", 4: "with-list", 5: "with-list-and-first"},
        0xC3: {
            1: "normal",
            2: "next-pblock",
            3: "with-list",
            4: "with-first-pblock",
            5: "with-list-and-first",
            6: "with-pblock",
        },
        0xC4: {1: "normal", 2: "with-datablock", 3: "with-list"},
        0xC5: {1: "normal", 2: "datablock", 3: "last-datablock", 4: "last-datablock-with-list", 5: "with-list"},
        0xC7: {1: "normal", 2: "with-pblock", 3: "with-list", 4: "next-pblock"},
    }
)
"""Variants of each service by the octet after the tag."""


def explain_apdu(octets: Octets, dialogue: Dialogue, depth: int = 0) -> Layer:
    """One APDU. What cannot be read ends in a layer with an error; what was read until then is shown."""
    if not depth:
        dialogue.heard.append(octets.data)
    elif octets.data and octets.data[0] in NESTED:
        return acse.initiate_layer(octets, dialogue)
    scribe = Scribe(octets, partial(explain_apdu, dialogue=dialogue, depth=depth + 1), dialogue)
    name = "APDU"
    error = ""
    try:
        tag = scribe.number("tag", 1, lambda tag: f"{tag:02X} ({APDU_NAMES.get(tag, 'unknown')})")
        name = APDU_NAMES.get(tag, name)
        walk = _WALKERS.get(tag)
        if depth > _DEEPEST:
            raise DecodeError("APDUs within APDUs", offset=0, expected=f"at most {_DEEPEST} levels", got="more")
        if walk is None:
            raise DecodeError("no APDU that is known here", offset=0, got=f"tag {tag:02X}")
        name = walk(scribe, tag) or name
        scribe.reader.finish(name)
    except RemoteProtocolError as problem:
        error = octets.say(problem)
    except HeadendError as problem:
        error = str(problem)
    return scribe.layer(f"{name} (IEC 62056-5-3)" if name != "APDU" else name, error)


def _kind(scribe: Scribe, tag: int) -> tuple[int, str]:
    """The variant of the service, and the APDU's name with it."""
    kinds = _KINDS[tag]
    offset = scribe.reader.offset
    kind = scribe.number("type", 1, lambda value: f"{value} ({kinds.get(value, 'unknown')})")
    if kind not in kinds:
        expected = ", ".join(f"{known:02X}" for known in kinds)
        raise DecodeError(APDU_NAMES[tag], offset=offset, expected=f"type {expected}", got=f"{kind:02X}")
    invoke_id(scribe)
    return kind, f"{APDU_NAMES[tag]}-{kinds[kind]}"


def _get_request(scribe: Scribe, tag: int) -> str:
    kind, name = _kind(scribe, tag)
    if kind == 1:
        attribute(scribe)
        if scribe.reader.left:
            selection(scribe)
        else:
            scribe.note("selective access", "left out, as some clients do", scribe.reader.offset)
    elif kind == 2:
        scribe.number("block number", 4)
    else:
        many(scribe, "attributes", selected)
    return name


def _get_response(scribe: Scribe, tag: int) -> str:
    kind, name = _kind(scribe, tag)
    if kind == 1:
        result(scribe)
    elif kind == 2:
        scribe.flag("last block")
        scribe.number("block number", 4)
        if scribe.number("result", 1, lambda value: "data-access-result" if value else "raw data"):
            scribe.number("data-access-result", 1, access_result)
        else:
            scribe.string("raw data", hex_text)
    else:
        many(scribe, "results", result)
    return name


def _set_request(scribe: Scribe, tag: int) -> str:
    kind, name = _kind(scribe, tag)
    if kind in {1, 2}:
        target = attribute(scribe)
        selection(scribe)
        if kind == 1:
            scribe.layers.append(data_layer(scribe.rest(), secret=target in SECRET_ATTRIBUTES))
            return name
    elif kind in {4, 5}:
        targets = many(scribe, "attributes", selected)
        if kind == 4:
            values(scribe, targets, SECRET_ATTRIBUTES)
            return name
    _secret_block(scribe)
    return name


def _secret_block(scribe: Scribe) -> None:
    """A block of something that is written: nobody knows what is in it, so its contents are not shown."""
    scribe.flag("last block")
    scribe.number("block number", 4)
    scribe.string("raw data", lambda octets: f"{len(octets)} octets")


def _set_response(scribe: Scribe, tag: int) -> str:
    kind, name = _kind(scribe, tag)
    if kind in {1, 3}:
        scribe.number("result", 1, access_result)
    elif kind in {4, 5}:
        many(scribe, "results", lambda inner, index: inner.number(f"[{index}] result", 1, access_result))
    if kind in {2, 3, 4}:
        scribe.number("block number", 4)
    return name


def _action_request(scribe: Scribe, tag: int) -> str:
    kind, name = _kind(scribe, tag)
    if kind in {1, 4}:
        target = method(scribe)
        if kind == 1:
            if scribe.flag("parameters"):
                scribe.layers.append(data_layer(scribe.rest(), "parameters", secret=target in SECRET_METHODS))
            return name
    elif kind == 2:
        scribe.number("block number", 4)
        return name
    elif kind in {3, 5}:
        targets = many(scribe, "methods", lambda inner, _: method(inner))
        if kind == 3:
            values(scribe, targets, SECRET_METHODS)
            return name
    _secret_block(scribe)
    return name


def _action_response(scribe: Scribe, tag: int) -> str:
    kind, name = _kind(scribe, tag)
    if kind == 1:
        scribe.number("action result", 1, action_result)
        if scribe.reader.left and scribe.flag("return parameters"):
            result(scribe)
    elif kind == 2:
        block(scribe)
    elif kind == 3:

        def each(inner: Scribe, index: int) -> None:
            inner.number(f"[{index}] action result", 1, action_result)
            if inner.flag(f"[{index}] return parameters"):
                result(inner, index)

        many(scribe, "results", each)
    else:
        scribe.number("block number", 4)
    return name


def _access_request(scribe: Scribe, _tag: int) -> None:
    long_invoke_id(scribe)
    date_time(scribe, "date-time")
    if any(_specifications(scribe)):
        scribe.layers.append(data_layer(scribe.rest(), "values", secret=True))
    else:
        values(scribe)


def _specifications(scribe: Scribe) -> list[bool]:
    """What an ACCESS asks for; True for what is a secret."""

    def each(inner: Scribe, index: int) -> bool:
        kinds = {1: "get", 2: "set", 3: "action", 4: "get with selection", 5: "set with selection"}
        kind = inner.number(f"[{index}] service", 1, lambda value: kinds.get(value, str(value)))
        target = method(inner) if kind == 3 else attribute(inner)
        if kind in {4, 5}:
            inner.number("access selector")
            inner.layers.append(data_layer(one_value(inner), f"[{index}] access parameters"))
        return target in (SECRET_METHODS if kind == 3 else SECRET_ATTRIBUTES)

    return many(scribe, "requests", each)


def _access_response(scribe: Scribe, _tag: int) -> None:
    long_invoke_id(scribe)
    date_time(scribe, "date-time")
    if scribe.flag("request repeated") and any(_specifications(scribe)):
        scribe.layers.append(data_layer(scribe.rest(), "values", secret=True))
        return
    values(scribe)

    def each(inner: Scribe, index: int) -> None:
        services = {1: "get", 2: "set", 3: "action"}
        kind = inner.number(f"[{index}] service", 1, lambda value: services.get(value, str(value)))
        inner.number(f"[{index}] result", 1, action_result if kind == 3 else access_result)

    many(scribe, "results", each)


def _data_notification(scribe: Scribe, _tag: int) -> None:
    long_invoke_id(scribe)
    tagged = scribe.reader.data[scribe.reader.offset : scribe.reader.offset + 2] == b"\x09\x0c"
    date_time(scribe, "date-time")
    body = scribe.rest()
    node = read_data(body.data)
    layer = node_layer(node, body, "notification body")
    if is_positional(node):
        layer = replace(layer, fields=(("peculiarity", _POSITIONAL, layer.offset, layer.length), *layer.fields))
    scribe.layers.append(layer)
    scribe.layers += readings_layer(node, body, tagged_date_time=tagged)


def _event_notification(scribe: Scribe, _tag: int) -> None:
    if scribe.flag("time"):
        date_time(scribe, "time of the event")
    secret = attribute(scribe) in SECRET_ATTRIBUTES
    scribe.layers.append(data_layer(scribe.rest(), "attribute value", secret=secret))


def _exception(scribe: Scribe, _tag: int) -> None:
    scribe.number("state error", 1, lambda value: _member(StateError, value))
    error = scribe.number("service error", 1, lambda value: _member(ServiceError, value))
    if error == ServiceError.INVOCATION_COUNTER_ERROR and scribe.reader.left:
        scribe.number("invocation counter expected", 4)


def _member(names: type[StateError | ServiceError], value: int) -> str:
    try:
        return f"{value} ({words(names(value).name)})"
    except ValueError:
        return str(value)


def _service_error(scribe: Scribe, _tag: int) -> None:
    scribe.number("service", 1, lambda value: f"{value} ({SERVICES.get(value, 'unknown')})")
    kind = scribe.number("kind of error", 1, lambda value: f"{value} ({ERRORS.get(value, ('unknown', ()))[0]})")
    names = ERRORS.get(kind, ("", ()))[1]
    scribe.number("error", 1, lambda value: f"{value} ({names[value]})" if value < len(names) else str(value))


_WALKERS: Final[Mapping[int, Callable[[Scribe, int], str | None]]] = MappingProxyType(
    {
        0x05: short.walk_read_request,
        0x06: short.walk_write_request,
        0x0C: short.walk_read_response,
        0x0D: short.walk_write_response,
        0x16: short.walk_write_request,
        0x18: short.walk_information_report,
        **dict.fromkeys(SERVICE_CIPHERED, ciphered.walk_service),
        **dict.fromkeys(GENERAL_CIPHERED, ciphered.walk_general),
        0x0E: _service_error,
        0x0F: _data_notification,
        **dict.fromkeys((0x60, 0x61, 0x62, 0x63), acse.walk_acse),
        0xC0: _get_request,
        0xC1: _set_request,
        0xC2: _event_notification,
        0xC3: _action_request,
        0xC4: _get_response,
        0xC5: _set_response,
        0xC7: _action_response,
        0xD8: _exception,
        0xD9: _access_request,
        0xDA: _access_response,
        0xE0: ciphered.walk_block,
    }
)
"""By tag: reads the rest of the APDU, and gives it a longer name where it has one."""
