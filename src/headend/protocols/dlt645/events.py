"""What a connection of DL/T 645 takes and gives: a request and where it goes, an answer and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from headend.protocols.dlt645.frame import Address
from headend.protocols.dlt645.requests import ClearDemand, InvalidRequest, ReadFollowing, Request, ReRead, SetTime
from headend.protocols.dlt645.responses import Response
from headend.protocols.dlt645.state import Message
from headend.standards.dlt645 import Version


@dataclass(frozen=True, slots=True)
class RequestTo:
    """A request and the meter, or meters, that it goes to."""

    address: Address
    request: Request | InvalidRequest
    version: Version = Version.V2007

    @property
    def is_answered(self) -> bool:
        """Somebody answers: not the time, nor (but in 1997, and there not to `ClearDemand`) what goes to everybody."""
        if isinstance(self.request, SetTime):
            return False
        if not self.address.is_broadcast:
            return True
        return self.version is Version.V1997 and not isinstance(self.request, ClearDemand)

    @property
    def message(self) -> Message:
        """What it is to the conversation."""
        if not self.is_answered:
            return Message.UNANSWERED
        return Message.NEXT if isinstance(self.request, (ReadFollowing, ReRead)) else Message.REQUEST


@dataclass(frozen=True, slots=True)
class AnswerFrom:
    """An answer and the meter that gives it."""

    address: Address
    response: Response


Event: TypeAlias = RequestTo | AnswerFrom
