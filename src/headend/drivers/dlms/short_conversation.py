"""A conversation with a meter that knows its objects by short names: requests are translated on their way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headend.drivers.dlms.conversation import Conversation
from headend.errors import DecodeError
from headend.protocols.dlms.acse import Rlrq
from headend.protocols.dlms.apdu.access import AccessRequest
from headend.protocols.dlms.apdu.get import GetResponseNormal
from headend.protocols.dlms.apdu.short import ReadRequest, WriteRequest
from headend.protocols.dlms.apdu.table import decode_apdu
from headend.protocols.dlms.axdr import decode_data
from headend.protocols.dlms.events import AssociationRequest
from headend.protocols.dlms.short_dialect import ShortDialect
from headend.transport.deadline import NEVER

if TYPE_CHECKING:
    from headend.drivers.dlms.conversation import PreparedGet
    from headend.drivers.dlms.parameters import Parameters
    from headend.protocols.dlms.apdu.table import Notification, Request
    from headend.protocols.dlms.connection import DlmsConnection
    from headend.protocols.dlms.events import Protection
    from headend.protocols.dlms.short_names import ShortNames
    from headend.transport.link import Link


class ShortConversation:
    """Asks as `Conversation` does, in short names. `names` are to be set as soon as the meter has told them."""

    __slots__ = ("_dialect", "_spoken", "close", "connection", "link", "open", "start", "stop")

    def __init__(self, spoken: Conversation) -> None:
        self._dialect = ShortDialect()
        self._spoken = spoken
        self.link: Link = spoken.link
        self.connection: DlmsConnection = spoken.connection
        self.open, self.start, self.stop, self.close = spoken.open, spoken.start, spoken.stop, spoken.close

    @property
    def names(self) -> ShortNames:
        """What the objects of the meter are called."""
        return self._dialect.names

    @names.setter
    def names(self, names: ShortNames) -> None:
        self._dialect.names = names

    @property
    def sound(self) -> bool:
        """False when no further request is possible."""
        return self._spoken.sound

    @property
    def notifications(self) -> list[Notification]:
        """What the meter has said unasked."""
        return self._spoken.notifications

    async def ask(
        self, event: Request | AccessRequest | AssociationRequest | Rlrq, timeout: float, *, streaming: bool = False
    ) -> Any:  # noqa: ANN401 - as Conversation
        """Send a request; the event that answers it."""
        if isinstance(event, AccessRequest | AssociationRequest | Rlrq):
            return await self._spoken.ask(event, timeout)
        said = self._dialect.begin(event)
        if not isinstance(said, ReadRequest | WriteRequest):
            return said
        return self._dialect.end(await self._spoken.ask(said, timeout, streaming=streaming))

    async def ask_next_block(self, timeout: float) -> Any:  # noqa: ANN401 - as Conversation
        """The block after the one that was taken last, or a refusal."""
        return self._dialect.end(await self._spoken.ask_next_block(timeout))

    async def get(self, prepared: PreparedGet, timeout: float) -> Any:  # noqa: ANN401 - as Conversation
        """Send a prepared GET; the plain value, or the event where the answer is not common."""
        answer = await self.ask(decode_apdu(prepared.apdus[0]), timeout)  # type: ignore[arg-type] # it is a GET
        if isinstance(answer, GetResponseNormal) and isinstance(answer.result, bytes):
            try:
                value, end = decode_data(answer.result)
            except DecodeError:
                return answer
            return value if end == len(answer.result) else answer
        return answer


def make_conversation(
    link: Link, parameters: Parameters, protection: Protection | None = None
) -> Conversation | ShortConversation:
    """The conversation that the parameters ask for."""
    spoken = Conversation(link, parameters.addressing.make_framing(), protection, keeps=parameters.inactivity or NEVER)
    return ShortConversation(spoken) if parameters.short_names else spoken
