"""Attributes and methods of one association: get, set, invoke, with everything that meters do instead of answering."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from headend.drivers.dlms.answers import (
    UNSCALED,
    Scale,
    Static,
    decoded,
    encoded,
    returned_by,
    single,
    to_scale,
    unexpected_error,
)
from headend.drivers.dlms.learning import learn_most, learn_scales, learned_most, learned_scales
from headend.drivers.dlms.plans import Step, prepare_refs, scaler_ref
from headend.drivers.dlms.refs import CosemRef
from headend.drivers.dlms.short_conversation import ShortConversation
from headend.drivers.knowledge import Knowledge
from headend.errors import (
    CapabilityError,
    HeadendError,
    KeyMissing,
    ServiceRefused,
)
from headend.protocols.dlms.acse import ApplicationContext, Mechanism, Rlrq
from headend.protocols.dlms.apdu.action import (
    ActionRequestNormal,
    ActionResponseNormal,
)
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.apdu.exception import ConfirmedServiceError, ExceptionResponse
from headend.protocols.dlms.apdu.get import GetRequestNormal, GetResponseWithList
from headend.protocols.dlms.apdu.set import (
    SetRequestNormal,
    SetResponseNormal,
)
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse, BlockReceived
from headend.protocols.dlms.initiate import Conformance, InitiateRequest
from headend.protocols.dlms.refusals import (
    access_error,
    association_error,
    association_is_lost,
    refusal_error,
)
from headend.protocols.dlms.security.authentication import Said, check_pass_4, pass_3
from headend.protocols.dlms.short_names import ASSOCIATION_NAME, ASSOCIATION_SN, to_short_names
from headend.protocols.dlms.state import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from headend.drivers.base import Secrets
    from headend.drivers.dlms.conversation import Conversation, PreparedGet
    from headend.drivers.dlms.parameters import Parameters
    from headend.drivers.dlms.security import Security
    from headend.model.objects import RawValue
    from headend.protocols.dlms.apdu.access import AccessRequest
    from headend.protocols.dlms.apdu.descriptor import AccessSelection
    from headend.protocols.dlms.apdu.table import Request
    from headend.protocols.dlms.security.authentication import Authentication
    from headend.protocols.dlms.short_names import ShortNames

PROPOSED: Final = (
    Conformance.PRIORITY_MANAGEMENT
    | Conformance.BLOCK_TRANSFER_WITH_GET
    | Conformance.BLOCK_TRANSFER_WITH_SET
    | Conformance.BLOCK_TRANSFER_WITH_ACTION
    | Conformance.GENERAL_BLOCK_TRANSFER
    | Conformance.MULTIPLE_REFERENCES
    | Conformance.ACCESS
    | Conformance.GET
    | Conformance.SET
    | Conformance.SELECTIVE_ACCESS
    | Conformance.EVENT_NOTIFICATION
    | Conformance.DATA_NOTIFICATION
    | Conformance.ACTION
)
"""What the head-end does; a meter grants a part of it."""
PROPOSED_SHORT: Final = (
    Conformance.READ
    | Conformance.WRITE
    | Conformance.BLOCK_TRANSFER_WITH_GET
    | Conformance.BLOCK_TRANSFER_WITH_SET
    | Conformance.GENERAL_BLOCK_TRANSFER
    | Conformance.MULTIPLE_REFERENCES
    | Conformance.INFORMATION_REPORT
    | Conformance.DATA_NOTIFICATION
    | Conformance.PARAMETERIZED_ACCESS
)
"""The same with short names."""
SHORT_OBJECTS: Final = CosemRef(ASSOCIATION_SN, ASSOCIATION_NAME, 2)
"""The object list that tells base names."""

COUNTER: Final = "invocation-counter-error"
"""Reason of a command that was refused because of its invocation counter."""


Errors: TypeAlias = dict[int, HeadendError]
PLAIN: Final = frozenset({int, float, bytes, str, bool, list, type(None)})
"""Types of the plain values that answer a prepared request for one attribute."""


class Access:
    """One association. Raises MeterError for what the meter refuses; LinkError and ProtocolError end the conversation."""

    def __init__(
        self,
        conversation: Conversation | ShortConversation,
        parameters: Parameters,
        secrets: Secrets,
        timeout: float,
        security: Security | None = None,
        make_security: Callable[[Secrets], Security | None] | None = None,
        knowledge: Knowledge | None = None,
    ) -> None:
        """`make_security` makes what another association with other secrets needs."""
        self.conversation = conversation
        self.addressing = parameters.addressing
        self.timeout = timeout
        self.most = 1
        """attributes that the meter takes in one request, as far as its PDU holds them"""
        self.with_access = False
        self.system_title = b""
        self.parameters = parameters
        self.secrets = secrets
        self._security = security
        self._make_security = make_security
        self._may_reassociate = True
        self.knowledge = knowledge or Knowledge()
        self.static = Static(learned_scales(self.knowledge))

    @property
    def conformance(self) -> Conformance:
        """What was negotiated."""
        return self.conversation.connection.conformance

    @property
    def names(self) -> ShortNames | None:
        """What a meter with short names calls its objects; None where objects have logical names."""
        return self.conversation.names if isinstance(self.conversation, ShortConversation) else None

    async def associate(self) -> None:
        """Associate, and let both sides prove themselves; raises AssociationRejected, SecurityError or KeyMissing.

        A meter that names the invocation counter that it expects gets it, once: some do so only when we prove ourselves.
        """
        if self.parameters.preset is not None:
            self._may_reassociate = False
            self.conversation.connection.assume(self.parameters.preset, self.parameters.max_pdu)
            await self._begin()
            return
        try:
            await self._associate()
        except ServiceRefused as error:
            if error.reason != COUNTER:
                raise
            await self._associate()

    async def associate_anew(self, changed: Secrets) -> None:
        """End the association and begin another one with other secrets, by which the meter proves that it has them too.

        Raises as `associate` does; the session must be closed then.
        """
        if self._make_security is None or isinstance(self.conversation, ShortConversation):
            raise CapabilityError("this association cannot be begun anew with other secrets")
        secrets = {**self.secrets, **changed}
        security = self._make_security(secrets)
        await self.conversation.ask(Rlrq(), self.timeout)
        self.secrets, self._security = secrets, security
        self.conversation.protect_by(security.protection if security is not None else None)
        if security is not None:
            await security.prepare()
        await self.associate()

    async def _associate(self) -> None:
        request = self._association_request()
        answer = await self.conversation.ask(request, self.timeout)
        if self._resynchronised(answer):
            request = self._association_request()
            answer = await self.conversation.ask(request, self.timeout)
        if isinstance(answer, ExceptionResponse | ConfirmedServiceError):
            raise refusal_error(answer, "the association")
        if not isinstance(answer, AssociationResponse) or not answer.accepted:
            raise association_error(answer)
        self.system_title = answer.system_title
        if self._security is not None and self._security.authentication is not None:
            said = Said(
                request.system_title, answer.system_title, request.authentication_value, answer.authentication_value
            )
            await self._prove(self._security.authentication, said)
        await self._begin()

    async def _begin(self) -> None:
        """The association stands: see what the meter does, and what it calls its objects."""
        self.most = learned_most(self.knowledge) if Conformance.MULTIPLE_REFERENCES in self.conformance else 1
        self.with_access = Conformance.ACCESS in self.conformance
        if isinstance(self.conversation, ShortConversation):
            self.conversation.names = to_short_names(await self.get(SHORT_OBJECTS))

    async def _prove(self, authentication: Authentication, said: Said) -> None:
        """Passes 3 and 4 of high level security."""
        answer = await self.request(pass_3(authentication, said, self.next_invoke_id()), "the authentication")
        if not isinstance(answer, ActionResponseNormal):
            raise unexpected_error(answer, "the authentication")
        check_pass_4(authentication, said, answer)

    def _association_request(self) -> AssociationRequest:
        mechanism, security = self.parameters.mechanism, self._security
        password, title, dedicated_key = b"", b"", b""
        short_names = self.parameters.short_names
        proposed = PROPOSED_SHORT if short_names else PROPOSED
        if not self.parameters.lists:
            proposed &= ~Conformance.MULTIPLE_REFERENCES
        context = ApplicationContext.SN if short_names else ApplicationContext.LN
        if mechanism is Mechanism.LLS:
            secret = self.secrets.get("secret")
            if secret is None:
                raise KeyMissing("authentication lls needs a password", hint="give it as secret=env:NAME")
            password = secret.reveal()
        if security is not None:
            title = security.title
            password = security.new_challenge() or password
            if security.protection is not None:
                context = ApplicationContext.SN_CIPHERED if short_names else ApplicationContext.LN_CIPHERED
                dedicated_key = security.new_dedicated_key()
                if self.parameters.security.general:
                    proposed |= Conformance.GENERAL_PROTECTION
        return AssociationRequest(
            initiate=InitiateRequest(
                conformance=proposed, max_receive_pdu=self.parameters.max_pdu, dedicated_key=dedicated_key
            ),
            application_context=context,
            mechanism=None if mechanism is Mechanism.NONE else mechanism,
            authentication_value=password,
            system_title=title,
        )

    def steps(self, refs: tuple[CosemRef, ...]) -> tuple[Step, ...]:
        """The requests that bring some attributes, as this meter takes them."""
        pdu = self.conversation.connection.max_request
        return prepare_refs(refs, self.addressing, pdu, most=self.most)

    async def read(
        self,
        refs: tuple[CosemRef, ...],
        steps: Sequence[Step],
        answer: Any = None,  # noqa: ANN401 - see Conversation.get
    ) -> tuple[list[RawValue], Errors]:
        """The values of attributes, and an error by its place for each that the meter refuses.

        `answer` is that to the first step, where it is known already and not a plain value. A meter that has promised to take
        lists, and refuses one, or answers with what nobody can read, or with too few results, or refuses all that is in it
        but not the first of that alone, gets lists of half the length from then on, in the end one attribute at a time.
        """
        values: list[RawValue] = []
        errors: Errors = {}
        for prepared, indexes in steps:
            if answer is None:
                answer = await self.conversation.get(prepared, self.timeout)
            if type(answer) is ExceptionResponse:
                if self._resynchronised(answer):
                    answer = await self.conversation.get(prepared, self.timeout)
                if type(answer) is ExceptionResponse:
                    answer = await self._associate_again(answer, prepared)
            if not prepared.count:
                found = [answer if type(answer) in PLAIN else single(answer, refs[indexes[0]])]
            else:
                found = self._listed(answer, [refs[at] for at in indexes])
                if not found or await self._refuses_lists(found, refs[indexes[0]]):
                    self.most = learn_most(self.knowledge, prepared.count)
                    start = indexes[0]
                    steps = self.steps(refs[start:])
                    self.knowledge.requests += len(steps)
                    rest, failed = await self.read(refs[start:], steps)
                    return values + rest, errors | {start + at: error for at, error in failed.items()}
            for at, value in zip(indexes, found, strict=True):
                if type(value) is DataAccessResult:
                    value = access_error(value, str(refs[at]))  # noqa: PLW2901 - a reason becomes its error
                if isinstance(value, HeadendError):
                    errors[at] = value
                    value = None  # noqa: PLW2901 - and its value is missing
                values.append(value)
            answer = None
        return values, errors

    async def read_refs(self, *refs: CosemRef) -> list[RawValue | HeadendError]:
        """The values of attributes that are not part of a plan, an error where the meter refuses one."""
        steps = self.steps(refs)
        self.knowledge.requests += len(steps)
        self.knowledge.singles += len(refs)
        values, errors = await self.read(refs, steps)
        return [errors.get(at, value) for at, value in enumerate(values)]

    async def get(self, ref: CosemRef) -> RawValue:
        """The value of one attribute."""
        (value,) = await self.read_refs(ref)
        if isinstance(value, HeadendError):
            raise value
        return value

    async def get_encoded(self, ref: CosemRef) -> bytes:
        """The value of one attribute as it is on the wire."""
        answer = await self.request(GetRequestNormal(self.next_invoke_id(), ref.attribute), f"GET {ref}")
        return encoded(answer, ref)

    async def stream(self, ref: CosemRef, selection: AccessSelection | None) -> AsyncIterator[bytes]:
        """The encoded value of one attribute in pieces, as the meter sends it; the reader sets the pace."""
        request = GetRequestNormal(self.next_invoke_id(), ref.attribute, selection)
        answer = await self.request(request, f"GET {ref}", streaming=True)
        while isinstance(answer, BlockReceived):
            yield answer.raw_data
            if answer.last_block:
                return
            answer = await self.conversation.ask_next_block(self.timeout)
        yield encoded(answer, ref)

    async def set(self, ref: CosemRef, data: bytes, selection: AccessSelection | None = None) -> None:
        """Write one attribute, or the part of it that is selected."""
        request = SetRequestNormal(self.next_invoke_id(), ref.attribute, data, selection)
        answer = await self.request(request, f"SET {ref}")
        if not isinstance(answer, SetResponseNormal):
            raise unexpected_error(answer, f"SET {ref}")
        if answer.result != DataAccessResult.SUCCESS:
            raise access_error(answer.result, f"SET {ref}")

    async def invoke(self, ref: CosemRef, parameters: bytes | None) -> bytes | None:
        """Invoke one method; what it returns, encoded."""
        answer = await self.request(ActionRequestNormal(self.next_invoke_id(), ref.method, parameters), f"ACTION {ref}")
        if not isinstance(answer, ActionResponseNormal):
            raise unexpected_error(answer, f"ACTION {ref}")
        returned = returned_by(ref, answer.result, answer.return_parameters)
        if isinstance(returned, HeadendError):
            raise returned
        return returned

    async def scales(self, refs: Sequence[CosemRef]) -> list[Scale | HeadendError]:
        """Scaler and unit of values, asked once; an error where the meter does not tell them."""
        scales = self.static.scales
        needed = {ref: other for ref in refs if (other := scaler_ref(ref)) is not None}
        wanted = [(ref, other) for ref, other in needed.items() if ref not in scales]
        self.knowledge.scales_used += sum(ref in needed for ref in refs)
        self.knowledge.scales_asked += len(wanted)
        if wanted:
            told = await self.read_refs(*(other for _, other in wanted))
            for (ref, other), raw in zip(wanted, told, strict=True):
                scales[ref] = raw if isinstance(raw, HeadendError) else to_scale(raw, other)
            learn_scales(self.knowledge, {ref: scales[ref] for ref, _ in wanted})
        return [scales.get(ref, UNSCALED) for ref in refs]

    def forget(self) -> None:
        """Ask anew for what does not change, when it is needed next."""
        self.knowledge.forget()
        self.static = Static()

    async def _associate_again(self, answer: ExceptionResponse, prepared: PreparedGet) -> Any:  # noqa: ANN401 - see Conversation.get
        """The answer to a second try; a third one, after a new association, when the meter seems to have lost the old one."""
        if not association_is_lost(answer) or not self._may_reassociate:
            return answer
        again = await self.conversation.get(prepared, self.timeout)
        if isinstance(again, ExceptionResponse) and association_is_lost(again):
            self._may_reassociate = False
            await self.associate()
            self.forget()
            again = await self.conversation.get(prepared, self.timeout)
            self._may_reassociate = not isinstance(again, ExceptionResponse)
        return again

    def _resynchronised(self, answer: object) -> bool:
        """True when a meter refuses for the sake of the invocation counter and our next request has the one it expects.

        Only a read, or an association, is repeated then: anybody may have forged the refusal of a command that was obeyed.
        """
        if not isinstance(answer, ExceptionResponse) or self._security is None:
            return False
        dedicated = self._security.dedicated and self.conversation.connection.state is State.ASSOCIATED
        return not dedicated and self._security.expected(answer.invocation_counter)

    async def request(self, request: Request | AccessRequest, what: str, *, streaming: bool = False) -> Any:  # noqa: ANN401 - ditto
        """The answer to one request; raises what a refusal of it as a whole means."""
        answer = await self.conversation.ask(request, self.timeout, streaming=streaming)
        if self._resynchronised(answer):
            if not isinstance(request, GetRequestNormal):
                raise ServiceRefused(
                    f"{what}: the meter expected another invocation counter", reason=COUNTER, hint="ask again"
                )
            answer = await self.conversation.ask(request, self.timeout, streaming=streaming)
        if isinstance(answer, ExceptionResponse | ConfirmedServiceError):
            raise refusal_error(answer, what)
        return answer

    def next_invoke_id(self) -> int:
        """The invoke-id-and-priority octet of the next request."""
        return self.conversation.connection.next_invoke_id()

    def _listed(self, answer: Any, refs: Sequence[CosemRef]) -> list[Any]:  # noqa: ANN401 - ditto
        """The results in the answer to a list, none when it is no such answer."""
        if type(answer) is list:
            return answer
        if isinstance(answer, GetResponseWithList) and len(answer.results) == len(refs):
            return [decoded(result, ref) for ref, result in zip(refs, answer.results, strict=True)]
        return []

    async def _refuses_lists(self, found: Sequence[object], ref: CosemRef) -> bool:
        """True when everything in a list was refused, and the first of it alone is not."""
        if not all(isinstance(value, DataAccessResult | HeadendError) for value in found):
            return False
        _, errors = await self.read((ref,), self.steps((ref,)))
        return not errors
