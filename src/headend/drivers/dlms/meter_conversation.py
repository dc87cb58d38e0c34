"""One client and one logical device of a virtual meter, from the AARQ to the end of the association."""

from __future__ import annotations

import secrets as randomness
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from headend.drivers.base import Trouble
from headend.drivers.dlms.meter.short_services import as_proof, as_reply, respond_short
from headend.drivers.dlms.meter_objects import RELAY, Association
from headend.drivers.dlms.meter_security import CIPHERED, Setup, make_setup, setup_of, user_of
from headend.drivers.dlms.meter_services import (
    NOT_ASSOCIATED,
    associate,
    refusal_of,
    respond,
    troubled,
)
from headend.drivers.dlms.meter_view import EMPTY, NO_SELECTION
from headend.errors import CapabilityError, RemoteProtocolError, ReplayDetected, SecurityError
from headend.protocols.base import ApduReceived, LinkReleased, Role
from headend.protocols.dlms.acse import Aarq, ApplicationContext, Diagnostic, Mechanism, Rlre, Rlrq
from headend.protocols.dlms.apdu.access import AccessRequest
from headend.protocols.dlms.apdu.action import ActionRequestNormal, ActionRequestWithList, ActionResponseNormal
from headend.protocols.dlms.apdu.descriptor import ActionResult, AttributeDescriptor
from headend.protocols.dlms.apdu.exception import ExceptionResponse, ServiceError, StateError
from headend.protocols.dlms.apdu.notification import EventNotification
from headend.protocols.dlms.apdu.short import (
    InformationReport,
    ShortRequest,
    UnconfirmedWriteRequest,
    VariableName,
    WriteRequest,
)
from headend.protocols.dlms.apdu.table import Request, decode_apdu
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest
from headend.protocols.dlms.initiate import Conformance
from headend.protocols.dlms.security.authentication import (
    REPLY_TO_HLS,
    Authentication,
    GmacAuthentication,
    Said,
    answer_pass_3,
)
from headend.protocols.dlms.state import State

if TYPE_CHECKING:
    from headend.drivers.base import MeterModel
    from headend.drivers.dlms.meter_clients import Client
    from headend.drivers.dlms.meter_file import MeterFile
    from headend.drivers.dlms.parameters import Parameters
    from headend.protocols.base import Framing
    from headend.protocols.dlms.security.protection import Ciphering

_CHALLENGE: Final = 16
_OUTPUT_STATE: Final = 2
_COMMANDS: Final = (ActionRequestNormal, ActionRequestWithList, AccessRequest, WriteRequest, UnconfirmedWriteRequest)
"""Requests of a client that moves the relay itself, and need not be told."""
_TOLD: Final = Conformance.EVENT_NOTIFICATION | Conformance.INFORMATION_REPORT
"""Either says that a client wants to be told, by logical or by short names."""
_DECIPHERING: Final = ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceError.DECIPHERING_ERROR)


class _Pending(NamedTuple):
    """An association that stands as soon as the client has proved itself."""

    authentication: Authentication
    said: Said
    association: Association


class MeterConversation:
    """The association of one client with one logical device, or none.

    `is_plain` when it is not ciphered and has logical names.
    """

    __slots__ = (
        "_client",
        "_clients",
        "_device",
        "_devices",
        "_file",
        "_model",
        "_parameters",
        "_pending",
        "_protection",
        "_relay_closed",
        "_setup",
        "_setups",
        "association",
        "connection",
        "framing",
        "is_plain",
        "view",
    )

    def __init__(
        self,
        framing: Framing,
        client_sap: int,
        server_sap: int,
        model: MeterModel,
        file: MeterFile,
        parameters: Parameters,
    ) -> None:
        self.association: Association | None = None
        self.connection = DlmsConnection(Role.SERVER, framing)
        self.is_plain = True
        self.view = EMPTY
        self._clients = file.clients(parameters)
        self._devices = file.devices(parameters)
        self._client = next((client for client in self._clients if client.sap == client_sap), None)
        self._device = next(device for device in self._devices if device.sap == server_sap)
        self._file = file
        self.framing = framing
        self._model = model
        self._parameters = parameters
        self._pending: _Pending | None = None
        self._protection: Ciphering | None = None
        self._relay_closed: bool | None = None  # as the client knows it, while it wants to be told
        self._setup: Setup | None = None
        self._setups: tuple[Setup, ...] = ()

    @property
    def is_over(self) -> bool:
        """True when there is nothing to remember."""
        return self.association is None and self._pending is None

    @property
    def is_open(self) -> bool:
        """True while a request may come, and no long answer is under way."""
        return self.association is not None and self.connection.state is State.ASSOCIATED

    def release(self, received: LinkReleased) -> None:
        """The link below has ended."""
        self.connection.take(received)
        self._end()

    def take(self, received: ApduReceived) -> None:
        """Answer one APDU; raises HeadendError when the model fails in the middle of an answer."""
        connection = self.connection
        if Trouble.ABORTS_BLOCKS in self._model.troubles:
            connection.abort_blocks()
        try:
            if received.apdu[0] == Aarq.TAG:
                connection = self._begin(received.apdu)
            elif self.is_over and self._parameters.preset is not None:
                self._assume(self._parameters.preset)
            event = connection.take(received)
        except ReplayDetected:
            connection.send(self._counter_error())
        except (SecurityError, CapabilityError):  # the second is for what is compressed
            connection.send(_DECIPHERING)
        except RemoteProtocolError:
            connection.send(refusal_of(received.apdu, associated=not self.is_over))
        else:
            moved = self._relay_has_moved()
            self._answer(event)
            if (self._relay_has_moved() and not isinstance(event, _COMMANDS)) or moved:
                self._tell_relay()

    def _relay_has_moved(self) -> bool:
        """True when the relay has changed since the last time; only watched for a client that wants to be told."""
        association, before = self.association, self._relay_closed
        wanted = association is not None and bool(association.conformance & _TOLD)
        self._relay_closed = self._model.relay_closed() if wanted else None
        return None not in (before, self._relay_closed) and before != self._relay_closed

    def _tell_relay(self) -> None:
        """Say unasked where the relay of the meter is, if the client may see it."""
        relay = next((made for (class_id, _), made in self.view.objects.items() if class_id == RELAY), None)
        if self.association is None or relay is None:
            return
        attribute = AttributeDescriptor(RELAY, relay.name.to_bytes(), _OUTPUT_STATE)
        read = self.view.reads.get(attribute.encode() + NO_SELECTION)
        named = self.view.short_names.find(RELAY, relay.name)
        name = named.attribute(_OUTPUT_STATE) if named else None
        if read is None:
            return
        value = read(self.association)
        if name is None:
            self.connection.send(EventNotification(attribute, value))
        else:
            self.connection.send(InformationReport((VariableName(name),), (value,)))

    def _answer(self, event: object) -> None:
        connection = self.connection
        if isinstance(event, AssociationRequest):
            self._associate(event)
        elif isinstance(event, Rlrq):
            self._end()
            connection.send(Rlre())
        elif isinstance(event, Request | AccessRequest):
            if self.association is not None:
                respond(connection, self.view, self.association, event)
            elif isinstance(event, ActionRequestNormal) and event.method == REPLY_TO_HLS and self._pending is not None:
                connection.send(self._prove(self._pending, event))
            else:
                connection.send(NOT_ASSOCIATED)
        elif isinstance(event, ShortRequest | UnconfirmedWriteRequest):
            self._answer_short(event)

    def _answer_short(self, request: ShortRequest | UnconfirmedWriteRequest) -> None:
        """Services of short names; the proof of a client comes as one of them."""
        if self.association is not None:
            respond_short(self.connection, self.view, self.association, request)
        elif not isinstance(request, UnconfirmedWriteRequest):
            proof = as_proof(request)
            if proof is None or self._pending is None:
                self.connection.send(NOT_ASSOCIATED)
            else:
                self.connection.send(as_reply(request, self._prove(self._pending, proof)))

    def _end(self) -> None:
        self.association = self._pending = None

    def _counter_error(self) -> ExceptionResponse:
        """What a client must know to go on; it has authenticated its message, old as this may be."""
        keys = self._setup.keys if self._setup is not None else None
        expected = None if keys is None else min(keys.received.last + 1, 0xFFFFFFFF)
        return ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceError.INVOCATION_COUNTER_ERROR, expected)

    # --- association ---

    def _begin(self, apdu: bytes) -> DlmsConnection:
        """A connection for a new association, ciphering if it asks for that and the meter has keys."""
        self._end()
        secured = (client for client in self._clients if client.is_secured(self._model))
        self._setups = tuple(make_setup(self._model, client) for client in secured)
        self._setup = None if self._client is None else setup_of(self._model, self._client)
        protection = None
        if self._setup is not None:
            if Trouble.COUNTS_ANEW in self._model.troubles:
                self._setup.count_anew()
            aarq = decode_apdu(apdu)
            if isinstance(aarq, Aarq) and aarq.application_context in CIPHERED:
                protection = self._setup.make_ciphering(aarq.calling_ap_title)
        self._protection = protection
        self.is_plain = protection is None and not self._parameters.short_names
        self.connection = DlmsConnection(Role.SERVER, self.framing, protection=protection)
        return self.connection

    def _assume(self, conformance: Conformance) -> None:
        """The pre-established association of the client of the meter's parameters, who needs no proof and no keys."""
        client, connection = self._client, self.connection
        if client is None or client is not self._clients[0] or client.is_secured(self._model):
            return
        if client.mechanism is not Mechanism.NONE or connection.state is not State.IDLE:
            return
        context = ApplicationContext.SN if self._parameters.short_names else ApplicationContext.LN
        connection.assume(conformance, self._parameters.max_pdu)
        self.is_plain = not self._parameters.short_names
        self.association = self._made(client, Mechanism.NONE, context)

    def _associate(self, request: AssociationRequest) -> None:
        connection, setup, parameters = self.connection, self._setup, self._parameters
        client = self._client
        response = troubled(associate(request, client, self._model, parameters, setup), self._model)
        authentication = (
            setup.make_authentication(request.system_title) if setup is not None and response.accepted else None
        )
        if setup is not None and response.accepted and (setup.keys is not None or authentication is not None):
            response = replace(response, system_title=setup.title, application_context=request.application_context)
        if authentication is not None:
            challenge = randomness.token_bytes(_CHALLENGE)
            response = replace(
                response,
                diagnostic=Diagnostic.AUTHENTICATION_REQUIRED,
                mechanism=request.mechanism,
                authentication_value=challenge,
            )
        connection.send(response)
        if not response.accepted or client is None:
            return
        association = self._made(
            client, request.mechanism or Mechanism.NONE, request.application_context, user_of(request)
        )
        if setup is not None:
            setup.client_title = request.system_title
        if authentication is None:
            self.association = association
        else:
            said = Said(
                request.system_title, response.system_title, request.authentication_value, response.authentication_value
            )
            self._pending = _Pending(authentication, said, association)

    def _made(self, client: Client, mechanism: int, context: int, user: int | None = None) -> Association:
        """The association of a client, as it has been agreed."""
        connection = self.connection
        self.view = self._file.view(self._device, client)
        return Association(
            model=self._model,
            client_sap=client.sap,
            server_sap=self._device.sap,
            mechanism=mechanism,
            application_context=context,
            conformance=connection.conformance,
            with_list=Conformance.MULTIPLE_REFERENCES in connection.conformance,
            max_send_pdu=connection.max_send_pdu,
            max_receive_pdu=self._parameters.max_pdu,
            clients=self._clients,
            devices=self._devices,
            setups=self._setups,
            protection=self._protection,
            user=user,
        )

    def _prove(self, pending: _Pending, request: ActionRequestNormal) -> ActionResponseNormal:
        """Pass 4 for pass 3; the challenge holds for one proof."""
        self._pending = None
        answer = answer_pass_3(pending.authentication, pending.said, request)
        if answer.result == ActionResult.SUCCESS:
            self.association = pending.association
            keys = self._setup.keys if self._setup is not None else None
            if keys is not None and isinstance(pending.authentication, GmacAuthentication):
                keys.received.last = max(keys.received.last, _counter_of(request))
        return answer


def _counter_of(request: ActionRequestNormal) -> int:
    """The invocation counter in a proof by GMAC, an octet string that was found good."""
    return int.from_bytes((request.parameters or b"")[3:7], "big")
