"""Asking units that may not be there, within the ground of a discovery. Requests that read, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from headend.drivers.modbus.wire import Wire
from headend.errors import LinkError, ProtocolError
from headend.protocols.modbus.connection import RequestAdu
from headend.protocols.modbus.pdu import (
    ExceptionCode,
    ExceptionResponse,
    ReadDeviceIdentification,
    ReadRequest,
    ReportServerId,
    Response,
)

if TYPE_CHECKING:
    from headend.drivers.ground import Ground
    from headend.model.meter import Endpoint
    from headend.transport.link import Link

Question: TypeAlias = ReadRequest | ReportServerId | ReadDeviceIdentification
"""What discovery asks: none of them changes anything."""

QUIET: Final = 0.05
"""Seconds of silence before octets of another protocol or speed go onto a line."""
_MOST_LOST: Final = 3
_BUSY_SECONDS: Final = 0.5
_BUSY: Final = (ExceptionCode.ACKNOWLEDGE, ExceptionCode.SERVER_DEVICE_BUSY)
_ABSENT: Final = (ExceptionCode.GATEWAY_PATH_UNAVAILABLE, ExceptionCode.GATEWAY_TARGET_FAILED_TO_RESPOND)


def is_absent(response: Response | None) -> bool:
    """A gateway says that it reaches no such unit."""
    return isinstance(response, ExceptionResponse) and response.code in _ABSENT


class PatientWire(Wire):
    """A wire that bears silence: its next question may go to somebody else."""

    __slots__ = ()

    def expire(self) -> None:
        """Nobody answered in time. A late answer has another transaction, or (RTU) another unit, function or length."""
        self.connection.abandon()
        self.complete(None)

    async def answer(self, unit: int, request: Question, timeout: float) -> Response | None:
        """What the unit says, also an exception; None for silence. Raises LinkError and ProtocolError."""
        self._refuse_second()
        self._read = None
        self.connection.abandon()  # what came unasked answers nothing
        self.connection.send(RequestAdu(unit, request))
        event = await self.transact(self.connection.data_to_send(), timeout)
        return None if event is None else event.response


class Questions:
    """Questions to the units behind one endpoint, one after the other."""

    def __init__(
        self, ground: Ground, *, rtu: bool, endpoint: Endpoint | None = None, tries: int = 1, silences: int = 0
    ) -> None:
        """Each question is asked so many times; after so many `silences` in a row, unless that is 0, nothing more is asked."""
        self.ground = ground
        self.endpoint = endpoint
        self.rtu = rtu
        self.tries = tries
        self.strange = False
        """Somebody answers with what is not Modbus."""
        self._wire: PatientWire | None = None
        self._lost = 0
        self._silences = silences
        self._silent = 0

    async def ask(self, unit: int, request: Question, timeout: float | None = None) -> Response | None:
        """What the unit says, also an exception; None for silence, or for something that is no answer.

        Raises ProbeEnded, and LinkError when no connection can be opened.
        """
        ground = self.ground
        for attempt in range(self.tries):
            ground.go_on()
            if self.gone:
                return None
            wire = await self._open()
            try:
                answer = await wire.answer(unit, request, min(timeout or ground.timeout, ground.seconds_left))
            except LinkError:
                self._lost += 1
                continue
            except ProtocolError:
                self.strange = True
                self._lost += 1
                continue
            if answer is None:
                if self.rtu and attempt + 1 < self.tries:
                    await ground.sleep(timeout or ground.timeout)  # what comes late must not answer something else
                continue
            if isinstance(answer, ExceptionResponse) and answer.code in _BUSY and attempt + 1 < self.tries:
                await ground.sleep(_BUSY_SECONDS)
                continue
            self._silent = 0
            return answer
        self._silent += 1
        return None

    @property
    def gone(self) -> str:
        """Why nothing more is asked; empty while there is hope."""
        if self._lost >= _MOST_LOST:
            return "the connection was closed again and again"
        return "it says nothing any more" if self._silences and self._silent >= self._silences else ""

    async def _open(self) -> PatientWire:
        wire = self._wire
        if wire is not None and wire.lost is None:
            return wire
        if wire is not None:
            wire.stop()
        link: Link = await self.ground.link(self.endpoint)
        wire = self._wire = PatientWire(link, rtu=self.rtu)
        wire.start()
        if self.rtu:
            await self.quiet()
        return wire

    async def quiet(self) -> None:
        """Wait until nothing comes any more, for a second at most."""
        wire = self._wire
        for _ in range(20):
            heard = wire.link.octets_in if wire else 0
            await self.ground.sleep(QUIET)
            if wire is None or wire.link.octets_in == heard:
                return

    @property
    def noise(self) -> int:
        """Octets that came and belong to no answer."""
        return self._wire.connection.dropped if self._wire else 0

    async def aclose(self) -> None:
        """Close the link."""
        if self._wire is not None:
            self._wire.stop()
        await self.ground.close()
