"""The association objects of a virtual meter (class 15): the one that is asked, and one for each client of the meter file.

```text
0-0:40.0.0   the association that is asked, as it sees itself
0-0:40.0.e   that with client e, in the order of the meter's clients
```

Versions: 0; 1 refers to a security setup; 2 knows users; 3 has rights that ask for protected requests and responses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.meter_objects import ASSOCIATION, CosemObject, Refused
from headend.drivers.dlms.meter_security import make_setup
from headend.model.meter import Secret
from headend.protocols.dlms.acse import ApplicationContext, Mechanism
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.axdr import (
    Data,
    Tag,
    array,
    bit_string,
    encode_data,
    enum,
    int8,
    octet_string,
    structure,
    uint8,
    uint16,
    visible_string,
)
from headend.protocols.dlms.initiate import DLMS_VERSION, NO_CONFORMANCE
from headend.protocols.dlms.security.authentication import HLS
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from collections.abc import Callable

    from headend.drivers.dlms.meter_clients import Client
    from headend.drivers.dlms.meter_objects import Association, Invoke
    from headend.drivers.dlms.meter_security import Setup
    from headend.drivers.dlms.meter_view import View

_NON_ASSOCIATED, _ASSOCIATED = 0, 2
_SECRET: Final = 7
_LONGEST_SECRET: Final = 64
_MOST_USERS: Final = 255
_CONTEXT_NAME: Final = bytes.fromhex("608574050801")
_MECHANISM_NAME: Final = bytes.fromhex("608574050802")
"""Object identifiers 2.16.756.5.8.1 and .2, without their last arc."""
PASSWORDS: Final = HLS - {Mechanism.HLS_GMAC, Mechanism.HLS_ECDSA}
"""Mechanisms whose secret is one of its own, and not a key of the security setup."""


def association_object(index: int, version: int, view_of: Callable[[Association, Client], View]) -> CosemObject:
    """Association 0-0:40.0.INDEX; index 0 is the one that is asked, and the others are those of the clients."""
    name = Obis(0, 0, 40, 0, index)
    made = CosemObject(ASSOCIATION, name, version, denied=(_SECRET,), always=index == 0, proofs=(1,))

    def client_of(asked: Association) -> Client:
        if index == 0:
            return asked.client
        if index > len(asked.clients):
            raise Refused(DataAccessResult.OBJECT_UNAVAILABLE)
        return asked.clients[index - 1]

    def object_list(asked: Association) -> bytes:
        return view_of(asked, client_of(asked)).object_list

    def partners(asked: Association) -> bytes:
        return encode_data(structure(int8(client_of(asked).sap & 0x7F), uint16(asked.server_sap)))

    def context_name(asked: Association) -> bytes:
        client, context = client_of(asked), asked.application_context
        if client.sap != asked.client_sap:
            ciphered = client.secret(asked.model, "ek") is not None
            context = ApplicationContext.LN_CIPHERED if ciphered else ApplicationContext.LN
        return encode_data(octet_string(_CONTEXT_NAME + bytes((context,))))

    def context_info(asked: Association) -> bytes:
        return encode_data(_context_info(asked, own=client_of(asked).sap == asked.client_sap))

    def mechanism_name(asked: Association) -> bytes:
        return encode_data(octet_string(_MECHANISM_NAME + bytes((client_of(asked).mechanism,))))

    def status(asked: Association) -> bytes:
        own = client_of(asked).sap == asked.client_sap
        return encode_data(enum(_ASSOCIATED if own else _NON_ASSOCIATED))

    made.reads |= {
        2: object_list,
        3: partners,
        4: context_name,
        5: context_info,
        6: mechanism_name,
        8: status,
    }
    _add_secret(made, client_of)
    if version >= 1:
        made.reads[9] = lambda asked: setup_reference(asked, client_of(asked))
    if version >= 2:
        _add_users(made, client_of)
    return made


def _add_secret(made: CosemObject, client_of: Callable[[Association], Client]) -> None:
    """The attribute and the methods that have to do with the password: low and high level have a way each to change it."""

    def set_secret(asked: Association, data: Data) -> None:
        client = client_of(asked)
        if client.mechanism is not Mechanism.LLS:
            raise Refused(DataAccessResult.READ_WRITE_DENIED)
        change_secret(asked, client, data)

    def change_hls_secret(asked: Association, data: Data | None) -> None:
        client = client_of(asked)
        if client.mechanism not in PASSWORDS:
            raise Refused(DataAccessResult.READ_WRITE_DENIED)
        change_secret(asked, client, data)

    made.writes[_SECRET] = set_secret
    made.methods |= {1: no_proof, 2: change_hls_secret}


def change_secret(asked: Association, client: Client, data: Data | None) -> None:
    """Take over a password, from the next association on."""
    if data is None or data.tag is not Tag.OCTET_STRING or not isinstance(data.value, bytes):
        raise Refused(DataAccessResult.TYPE_UNMATCHED)
    if not 0 < len(data.value) <= _LONGEST_SECRET:
        raise Refused(DataAccessResult.OTHER_REASON)
    make_setup(asked.model, client).change({"secret": Secret(data.value)})


def no_proof(_: Association, __: Data | None) -> None:
    """reply_to_HLS_authentication, when there is nothing to reply to any more."""
    raise Refused(DataAccessResult.READ_WRITE_DENIED)


def setup_reference(asked: Association, client: Client) -> bytes:
    """The logical name of the security setup of a client; nobody's where it has none."""
    for index, setup in enumerate(asked.setups):
        if setup.client.sap == client.sap:
            return encode_data(octet_string(Obis(0, 0, 43, 0, index).to_bytes()))
    return encode_data(octet_string(bytes(6)))


def _add_users(made: CosemObject, client_of: Callable[[Association], Client]) -> None:
    """user_list, current_user, and the methods that change the list. With a list, only its users may associate."""

    def setup_of(asked: Association) -> Setup:
        return make_setup(asked.model, client_of(asked))

    def user_list(asked: Association) -> bytes:
        return encode_data(array(*(_user(number, name) for number, name in setup_of(asked).users.items())))

    def current_user(asked: Association) -> bytes:
        user = asked.user
        name = "" if user is None else setup_of(asked).users.get(user, "")
        return encode_data(_user(user or 0, name))

    def change(*, adding: bool) -> Invoke:
        def invoke(asked: Association, data: Data | None) -> None:
            match data.plain() if data is not None else None:
                case [int(number), str(name)]:
                    users = setup_of(asked).users
                case _:
                    raise Refused(DataAccessResult.TYPE_UNMATCHED)
            if not 0 <= number <= _MOST_USERS or (not adding and number not in users):
                raise Refused(DataAccessResult.OTHER_REASON)
            if adding:
                users[number] = name
            else:
                del users[number]

        return invoke

    made.reads |= {10: user_list, 11: current_user}
    made.methods |= {5: change(adding=True), 6: change(adding=False)}


def _user(number: int, name: str) -> Data:
    return structure(uint8(number), visible_string(name))


def _context_info(asked: Association, *, own: bool) -> Data:
    conformance = asked.conformance if own else NO_CONFORMANCE
    return structure(
        bit_string(f"{int(conformance):024b}"),
        uint16(asked.max_receive_pdu),
        uint16(asked.max_send_pdu if own else 0),
        uint8(DLMS_VERSION),
        int8(0),
        octet_string(b""),
    )
