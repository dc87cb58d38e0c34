"""What classification is tried on: lists left out, lists that changed, identifiers in the forms of real ones. Pure."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from headend.services.discovery.classification.features import IDENTITY
from headend.services.discovery.classification.training import thinned
from headend.services.discovery.classification.views import Sample
from headend.standards.vendors import flag_of_vendor, vendor_name

Objects = tuple[tuple[int, int, str], ...]

_NAME: Final = re.compile(r"[A-Z]{3}\d{9,13}")


def variations(sample: Sample, others: Sequence[Sample]) -> Iterator[tuple[str, Objects]]:
    """The same meter as it may look elsewhere: objects missing, identity blanked, another firmware."""
    for share in (0.9, 0.75, 0.5):
        yield f"{100 - round(share * 100)} % of the objects missing", thinned(sample, share)
    yield "identity objects blanked", tuple(each for each in sample.objects if not each[2].startswith(IDENTITY))
    yield "another firmware", _renewed(sample, others)


def _renewed(sample: Sample, others: Sequence[Sample]) -> Objects:
    """Another firmware: a tenth of the objects gone, as many new ones from lists of any maker, a twentieth of versions raised."""
    chance = random.Random(hashlib.sha256(sample.files[0].encode()).digest())  # noqa: S311 - no secret
    count = len(sample.objects)
    kept = chance.sample(sample.objects, count - count // 10)
    had = {(class_id, name) for class_id, _, name in sample.objects}
    pool = sorted({each for other in others for each in other.objects if (each[0], each[2]) not in had})
    new = chance.sample(pool, min(len(pool), count // 10))
    raised = set(chance.sample(range(len(kept)), len(kept) // 20))
    kept = [
        (class_id, version + 1 if index in raised and version >= 0 else version, name)
        for index, (class_id, version, name) in enumerate(kept)
    ]
    return tuple(sorted([*kept, *new]))


def identifiers(sample: Sample) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Names and titles with the maker's id, in the forms that real ones have; none for a maker without an id."""
    flag = flag_of_vendor(sample.vendor)
    if not flag:
        return
    number = int.from_bytes(hashlib.sha256(sample.files[0].encode()).digest()[:4])
    serial = f"{number % 10**10:010}"
    yield "name of IDIS", {"logical_device_name": f"{flag}102{serial}"}
    yield "short name", {"logical_device_name": f"{flag}{serial[:8]}"}
    yield "padded name", {"logical_device_name": f"{flag}{serial[:6]}".ljust(16, "\x00")}
    yield "name with a type", {"logical_device_name": f"{flag} M3-{serial[:7]}"}
    yield "name in octets", {"logical_device_name": (flag.encode() + number.to_bytes(4) + b"\x01").hex()}
    yield "title of IDIS", {"system_title": (flag.encode() + b"\x66" + number.to_bytes(4)).hex()}
    yield "title", {"system_title": (flag.encode() + b"\x10" + number.to_bytes(4)).hex()}
    yield "sign-on", {"identification": f"/{flag}5{serial[:8]}"}


def pushes(signatures: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, bool, Mapping[str, str]]]:
    """(maker, is an identifier readable, facts) of features of real pushes."""
    for each in signatures:
        facts: dict[str, str] = {"protocol": "dlms"}
        if each.get("system_title"):
            facts["system_title"] = str(each["system_title"])
        if each.get("ident"):
            facts["identification"] = str(each["ident"])
        for text in map(str, each.get("ascii") or ()):
            if each.get("apdu_tag") == "2f":  # "/": the head line of a telegram
                facts.setdefault("identification", f"/{text}")
            elif _NAME.fullmatch(text):
                facts.setdefault("logical_device_name", text)
            else:
                facts.setdefault("manufacturer_text", text)
        yield vendor_name(str(each["manufacturer"])), len(facts) > 1, facts
