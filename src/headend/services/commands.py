"""Commands: the one door through which people and programs act on meters.

A command goes ahead of reads and polls of the same wire, is carried out once and never repeated: where the answer is
missing, the outcome is UNKNOWN and says so.
"""

from __future__ import annotations

from headend.drivers.base import Session
from headend.errors import HeadendError, LinkError, MeterError, RemoteProtocolError
from headend.model.event import Event, EventType, Severity
from headend.model.job import Command, Outcome, Verdict
from headend.model.reading import Value
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.turns import Priority
from headend.services.bus import Bus
from headend.services.roster import Clock

COMMAND_SECONDS = 60.0


class Commands:
    """Carries out commands and says on the bus how each of them ended."""

    def __init__(self, lanes: Lanes, bus: Bus, clock: Clock) -> None:
        self._lanes = lanes
        self._bus = bus
        self._clock = clock

    async def execute(
        self, meter_id: str, command: Command, actor: str, *, timeout: float = COMMAND_SECONDS
    ) -> Outcome:
        """Carry out a command on a meter.

        Returns an Outcome for everything that was sent: confirmed, refused by the meter, or unknown. Raises an error of the
        tree when nothing was sent (no such meter, no link, no capability, no time).
        """
        begun = False

        async def work(session: Session) -> Outcome:
            nonlocal begun
            begun = True
            return await session.execute(command)

        try:
            outcome = await self._lanes.run_job(meter_id, work, Priority.COMMAND, timeout=timeout, repeat=False)
        except HeadendError as error:
            verdict = _verdict(error) if begun else None
            if verdict is None:
                self._publish(meter_id, command, actor, "not-sent", str(error), error.code)
                raise
            outcome = Outcome(verdict=verdict, detail=str(error))
            self._publish(meter_id, command, actor, verdict.value, outcome.detail, error.code)
        except BaseException:
            if begun:
                self._publish(meter_id, command, actor, Verdict.UNKNOWN.value, "nobody waited for the answer", "")
            raise
        else:
            self._publish(meter_id, command, actor, outcome.verdict.value, outcome.detail, "")
        return outcome

    def _publish(self, meter_id: str, command: Command, actor: str, verdict: str, detail: str, code: str) -> None:
        data: dict[str, Value] = {
            "command": command.kind.value,
            "actor": actor,
            "verdict": verdict,
            "detail": detail,
            "code": code,
        }
        confirmed = verdict == Verdict.CONFIRMED.value
        self._bus.publish(
            Event(
                type=EventType.COMMAND_FINISHED,
                severity=Severity.INFO if confirmed else Severity.WARNING,
                occurred_at=self._clock(),
                meter_id=meter_id,
                data=data,
            )
        )


def _verdict(error: HeadendError) -> Verdict | None:
    """What is known after a command that ended in an error; None when nothing was sent (a capability, an argument)."""
    if isinstance(error, MeterError):
        return Verdict.REFUSED
    return Verdict.UNKNOWN if isinstance(error, LinkError | RemoteProtocolError) else None
