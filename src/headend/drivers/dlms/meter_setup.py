"""The security setups of a virtual meter (class 64), one for each client with keys, and the counters that it expects to grow.

What a method changes holds from the next association on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from headend.drivers.dlms.meter_objects import DATA, Association, CosemObject, Refused
from headend.errors import CapabilityError, ConfigError, HeadendError, SecurityError
from headend.model.meter import Secret
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.axdr import Data, Tag, array, encode_data, enum, octet_string, structure, uint32
from headend.protocols.dlms.security.certificates import Certificate, Entity, KeyUse
from headend.protocols.dlms.security.key_changes import KeyId, agreed_key, make_offer, take_offer
from headend.protocols.dlms.security.keys import unwrap_key
from headend.protocols.dlms.security.policy import policy_number, policy_of
from headend.protocols.dlms.security.suite import check_key
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from collections.abc import Callable

    from headend.drivers.dlms.meter_security import Setup

SECURITY_SETUP: Final = 64
SECRET_OF: Final = {
    KeyId.GLOBAL_UNICAST: "ek",
    KeyId.GLOBAL_BROADCAST: "bk",
    KeyId.AUTHENTICATION: "ak",
    KeyId.MASTER: "mk",
}
_BY_ENTITY, _BY_SERIAL = 0, 1
_WEAKEST_OF_VERSION_1: Final = 4
_DER_INTEGER: Final = 2


def setup_at(association: Association, index: int) -> Setup:
    """The security of a meter with one of its clients; raises Refused when there is none."""
    if index >= len(association.setups):
        raise Refused(DataAccessResult.OBJECT_UNAVAILABLE)
    return association.setups[index]


def invocation_counter(index: int) -> CosemObject:
    """The last counter that the meter has taken from a client under the global key."""
    made = CosemObject(DATA, Obis(0, 0, 43, 1, index))

    def read(association: Association) -> bytes:
        keys = setup_at(association, index).keys
        return encode_data(uint32(max(0, keys.received.last) if keys is not None else 0))

    made.reads[2] = read
    return made


def security_setup(index: int, version: int) -> CosemObject:
    """Security setup 0-0:43.0.INDEX: keys, policy, and in version 1 key pairs and certificates."""
    made = CosemObject(SECURITY_SETUP, Obis(0, 0, 43, 0, index), version)

    def show(attribute: Callable[[Setup], Data]) -> Callable[[Association], bytes]:
        return lambda association: encode_data(attribute(setup_at(association, index)))

    def act(method: Callable[[Setup, Data], Data | None]) -> Callable[[Association, Data | None], bytes | None]:
        def invoke(association: Association, data: Data | None) -> bytes | None:
            if data is None:
                raise Refused(DataAccessResult.TYPE_UNMATCHED)
            returned = _try(method, setup_at(association, index), data)
            return None if returned is None else encode_data(returned)

        return invoke

    made.reads |= {
        2: show(lambda setup: _policy(setup, version)),
        3: show(lambda setup: enum(setup.suite.number)),
        4: show(lambda setup: octet_string(setup.client_title)),
        5: show(lambda setup: octet_string(setup.title)),
    }
    made.methods |= {1: act(lambda setup, data: _activate(setup, data, version)), 2: act(_transfer)}
    if version:
        made.reads[6] = show(_certificates)
        made.methods |= {3: act(_agree), 4: act(_generate), 5: act(_request), 6: act(_import)}
        made.methods |= {7: act(_export), 8: act(_remove)}
    return made


def _try(method: Callable[[Setup, Data], Data | None], setup: Setup, data: Data) -> Data | None:
    """Invoke a method; keys and signatures that are not what they should be are refused without saying more."""
    try:
        return method(setup, data)
    except Refused:
        raise
    except (SecurityError, ConfigError) as error:
        raise Refused(DataAccessResult.OTHER_REASON) from error
    except HeadendError as error:  # a certificate that is none, a point beside the curve
        raise Refused(DataAccessResult.TYPE_UNMATCHED) from error


# --- policy ---


def _policy(setup: Setup, version: int) -> Data:
    try:
        return enum(policy_number(policy_of(setup.policy), version))
    except CapabilityError:
        raise Refused(DataAccessResult.OBJECT_UNAVAILABLE) from None


def _activate(setup: Setup, data: Data, version: int) -> None:
    """Strengthen the policy; nothing makes it weaker."""
    number = _number(data, Tag.ENUM, Tag.UINT8)
    if number and (number < _WEAKEST_OF_VERSION_1) is bool(version):
        raise Refused(DataAccessResult.OTHER_REASON)
    wanted, held = policy_of(number), policy_of(setup.policy)
    if held.request & ~wanted.request or held.response & ~wanted.response:
        raise Refused(DataAccessResult.OTHER_REASON)
    setup.activate(number)


# --- symmetric keys ---


def _transfer(setup: Setup, data: Data) -> None:
    """Keys wrapped under the master key: all of them, or none."""
    if "mk" not in setup.secrets:
        raise Refused(DataAccessResult.OTHER_REASON)
    master = setup.reveal("mk")
    setup.change({name: _unwrapped(setup, name, master, wrapped) for name, wrapped in _key_data(data).items()})


def _unwrapped(setup: Setup, name: str, master: bytes, wrapped: bytes) -> Secret:
    return Secret(check_key(setup.suite, unwrap_key(master, wrapped), name))


def _agree(setup: Setup, data: Data) -> Data:
    """Ephemeral public keys of the client, each answered by one of ours; then both have the keys."""
    offers = _key_data(data)
    signing, peer = setup.signing_key, setup.client_key(setup.client_title, KeyUse.DIGITAL_SIGNATURE)
    if signing is None or peer is None or not setup.suite.number or not setup.client_title:
        raise Refused(DataAccessResult.OTHER_REASON)
    changed, answers = {}, []
    for name, offer in offers.items():
        key_id = next(each for each, known in SECRET_OF.items() if known == name)
        theirs = take_offer(setup.suite, key_id, offer, peer)
        ours = ec.generate_private_key(setup.suite.curve)
        titles = {"client_title": setup.client_title, "meter_title": setup.title}
        changed[name] = Secret(agreed_key(setup.suite, key_id, ours, theirs, **titles))
        answers.append(structure(enum(key_id), octet_string(make_offer(setup.suite, key_id, ours, signing))))
    setup.change(changed)
    return array(*answers)


def _key_data(data: Data) -> dict[str, bytes]:
    """The elements of key_transfer_data or key_agreement_data, by the names of the secrets."""
    found: dict[str, bytes] = {}
    for element in _elements(data, Tag.ARRAY):
        which, octets = _fields(element, Tag.ENUM, Tag.OCTET_STRING)
        number = _number(which, Tag.ENUM)
        if number not in list(KeyId) or SECRET_OF[KeyId(number)] in found:
            raise Refused(DataAccessResult.OTHER_REASON)
        found[SECRET_OF[KeyId(number)]] = _octets(octets)
    if not found:
        raise Refused(DataAccessResult.OTHER_REASON)
    return found


# --- key pairs and certificates ---


def _generate(setup: Setup, data: Data) -> None:
    setup.credentials.generate(_use(data))


def _request(setup: Setup, data: Data) -> Data:
    return octet_string(setup.credentials.request(_use(data)))


def _import(setup: Setup, data: Data) -> None:
    setup.credentials.take(_octets(data), setup.now())


def _export(setup: Setup, data: Data) -> Data:
    return octet_string(_find(setup, data).der)


def _remove(setup: Setup, data: Data) -> None:
    setup.credentials.certificates.remove(_find(setup, data))


def _certificates(setup: Setup) -> Data:
    """What certificates there are."""
    credentials = setup.credentials
    return array(
        *(
            structure(
                enum(credentials.entity_of(each, setup.client_title)),
                enum(each.use),
                *map(octet_string, (each.serial, each.issuer, each.subject, b"")),
            )
            for each in credentials.certificates
        )
    )


def _find(setup: Setup, data: Data) -> Certificate:
    """The certificate of a certificate_identification: by whose it is and for what, or by its number."""
    kind, which = _elements(data, Tag.STRUCTURE, 2)
    number = _number(kind, Tag.ENUM)
    if number == _BY_ENTITY:
        entity, use, title = _fields(which, Tag.ENUM, Tag.ENUM, Tag.OCTET_STRING)

        def fits(each: Certificate) -> bool:
            held = setup.credentials.entity_of(each, setup.client_title)
            same = title.value in (b"", each.title) if held is Entity.AUTHORITY else each.title == title.value
            return same and (held, each.use) == (entity.value, use.value)

    elif number == _BY_SERIAL:
        serial, issuer = map(_octets, _fields(which, Tag.OCTET_STRING, Tag.OCTET_STRING))

        def fits(each: Certificate) -> bool:
            return _integer(serial) == _integer(each.serial) and issuer == each.issuer

    else:
        raise Refused(DataAccessResult.TYPE_UNMATCHED)
    for each in setup.credentials.certificates:
        if fits(each):
            return each
    raise Refused(DataAccessResult.OBJECT_UNAVAILABLE)


def _integer(serial: bytes) -> int:
    """A serial number, as it is or in DER."""
    if len(serial) > _DER_INTEGER and serial[0] == _DER_INTEGER and serial[1] == len(serial) - _DER_INTEGER:
        serial = serial[_DER_INTEGER:]
    return int.from_bytes(serial, "big")


# --- what methods are given ---


def _use(data: Data) -> KeyUse:
    number = _number(data, Tag.ENUM)
    if number not in list(KeyUse):
        raise Refused(DataAccessResult.OTHER_REASON)
    return KeyUse(number)


def _number(data: Data, *tags: Tag) -> int:
    if data.tag not in tags or not isinstance(data.value, int):
        raise Refused(DataAccessResult.TYPE_UNMATCHED)
    return data.value


def _octets(data: Data) -> bytes:
    if data.tag is not Tag.OCTET_STRING or not isinstance(data.value, bytes):
        raise Refused(DataAccessResult.TYPE_UNMATCHED)
    return data.value


def _elements(data: Data, tag: Tag, count: int | None = None) -> tuple[Data, ...]:
    if data.tag is not tag or not isinstance(data.value, tuple) or count not in (None, len(data.value)):
        raise Refused(DataAccessResult.TYPE_UNMATCHED)
    return data.value


def _fields(data: Data, *tags: Tag) -> tuple[Data, ...]:
    found = _elements(data, Tag.STRUCTURE, len(tags))
    if any(each.tag is not tag for each, tag in zip(found, tags, strict=True)):
        raise Refused(DataAccessResult.TYPE_UNMATCHED)
    return found
