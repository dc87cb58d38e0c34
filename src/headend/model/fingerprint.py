"""Fingerprint and classification: what a meter is, in facts that do not change from one day to the next, and what follows."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from headend.model.meter import NO_PARAMS


class Stability(enum.Enum):
    """How long a fact stays as it is."""

    MODEL = "model"
    """the same for all meters of a model and firmware: part of the digest"""
    METER = "meter"
    """of one single meter: kept and compared, not part of the digest"""
    SETTING = "setting"
    """may be set by its owner: kept and compared, not part of the digest"""


_M, _O, _S = Stability.MODEL, Stability.METER, Stability.SETTING

FACTS: Final[Mapping[str, tuple[Stability, str]]] = {
    # any protocol
    "protocol": (_M, "dlms, dlt645, modbus"),
    "framing": (_M, "wrapper, hdlc, apdu; frame; tcp, rtu"),
    "serial_number": (_O, "as the meter says it"),
    "firmware": (_M, "version of the active firmware, as the meter says it"),
    "manufacturer_text": (_M, "a maker in words, as the meter says it"),
    "model_text": (_M, "a type or model in words, as the meter says it"),
    "object_count": (_M, "objects in its own list"),
    "object_digest": (_M, "SHA-256 over class, version and logical name of its own list, sorted"),
    "banner": (_M, "what it says unasked, in hexadecimal"),
    "identification": (
        _M,
        "the line with which it signs on by IEC 62056-21, or that heads its telegrams: `/` and what follows",
    ),
    "registration": (_M, "which description of logins and heartbeats it fits"),
    # DLMS/COSEM
    "logical_device_name": (_O, "object 0-0:42.0.0.255"),
    "logical_device_name_flag": (_M, "its first three letters, where they are a FLAG identifier"),
    "system_title": (_O, "eight octets in hexadecimal"),
    "system_title_flag": (_M, "its first three octets as letters, where they are a FLAG identifier"),
    "referencing": (_M, "ln, sn, or both as `ln,sn`"),
    "contexts": (_M, "application contexts that were accepted or said to be there, separated by commas"),
    "authentication": (
        _M,
        "per client `SAP:none|lls|hls|md5|sha1|gmac|sha256|ecdsa`, separated by commas; + for several",
    ),
    "clients": (_M, "client SAPs that answer, separated by commas"),
    "servers": (_M, "server SAPs that answer, separated by commas"),
    "suite": (
        _M,
        "security suite: 0, 1, 2, separated by commas where clients have different ones; none where nothing is ciphered",
    ),
    "policy": (_S, "security policy, as the security setups hold it, separated by commas"),
    "conformance": (_M, "what the public client was granted: three octets in hexadecimal"),
    "max_pdu": (_M, "octets the meter takes in one APDU"),
    "dlms_version": (_M, "that it answers with"),
    "hdlc_address_octets": (_M, "1, 2 or 4: the address lengths that it answers to, separated by commas"),
    "hdlc_max_info_receive": (_M, "octets of information per frame, in its UA"),
    "hdlc_max_info_transmit": (_M, "likewise"),
    "hdlc_window_receive": (_M, "frames, in its UA"),
    "hdlc_window_transmit": (_M, "likewise"),
    "wrapper_wport": (_M, "the source port it answers from, where that is not the one that was asked"),
    # Modbus
    "device_id_vendor": (_M, "object 0 of function 43/14"),
    "device_id_product": (_M, "object 1"),
    "device_id_revision": (_M, "object 2"),
    "server_id": (_O, "what function 17 says, in hexadecimal; many put their serial number into it"),
    "functions": (_M, "functions that were answered (0), or refused with an exception (its number), as `3:0,17:1`"),
    "plausible": (
        _S,
        "registers of meter files that hold what can be true: `voltage_l1=input/0x0000/f32e-1` with the power of ten, by commas",
    ),
    # DL/T 645
    "edition": (_M, "1997 or 2007"),
    "meter_address": (_O, "twelve digits"),
}
"""Names of facts, how stable they are, and what they hold. Beside them, a reference of an object may be the name of a fact (its
value then), as `holding/0xFC02/u16`: of stability MODEL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Canonical facts by name, the object list, and a digest over what is of stability MODEL."""

    digest: str
    facts: Mapping[str, str]
    unobserved: Mapping[str, str] = field(default_factory=lambda: NO_PARAMS)
    """facts that the wire did not show, and why: neither equal nor different to anything"""
    objects: tuple[tuple[int, int, str], ...] = ()
    """(class, version, logical name as `1-0:1.8.0.255`), sorted; class 0 for other protocols, whose names are references"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """What speaks for (weight above 0) or against (below) a conclusion."""

    text: str
    fact: str = ""
    weight: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A maker (and model) that it may be; `confidence` 0 to 1, calibrated."""

    vendor: str
    model: str = ""
    confidence: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """Which meter it is. `vendor` is empty for unknown; then `confidence` is that of being none of those known."""

    vendor: str = ""
    flag: str = ""
    """FLAG identifier of the maker, where it is known"""
    model: str = ""
    firmware: str = ""
    profile_id: str = ""
    """the meter file that fits; empty where none does"""
    confidence: float = 0.0
    model_confidence: float = 0.0
    method: str = ""
    """identifier, rules, model, or none"""
    reasons: tuple[Reason, ...] = ()
    against: tuple[Reason, ...] = ()
    runners_up: tuple[Candidate, ...] = field(default=())
