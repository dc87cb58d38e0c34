"""Asking callers who they are, where the settings allow it: those that say nothing, or nothing of themselves.

Many modems only open a connection and wait. Each protocol that may be tried costs a request, and most meters write down who
has tried to associate; so it is done once an hour for an address, for a few callers at a time, as the public client.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from headend.drivers.base import NO_SECRETS
from headend.errors import HeadendError, LinkClosed
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity
from headend.services.acquisition.party import PartyLine
from headend.services.gateway.caller import Caller
from headend.services.gateway.house import House

AT_ONCE: Final = 16
ANSWER_SECONDS: Final = 5.0
ASK_SECONDS: Final = 20.0
"""for all that one protocol takes"""
AGAIN_SECONDS: Final = 3600.0
ADDRESSES: Final = 1000
NOBODY: Final = MeterIdentity()


class Asker:
    """Asks in the background; what a caller says goes to `answered`, NOBODY when it says nothing."""

    def __init__(
        self,
        house: House,
        schemes: Sequence[tuple[str, str]],
        answered: Callable[[Caller, MeterIdentity], None],
    ) -> None:
        """`schemes` are protocols and framings, in the order in which they are tried."""
        self._house = house
        self._schemes = schemes
        self._answered = answered
        self._asking: dict[int, asyncio.Task[None]] = {}
        self._lately: OrderedDict[str, float] = OrderedDict()

    @property
    def wants_silence(self) -> bool:
        """True when those that say nothing are asked."""
        return bool(self._schemes)

    def ask(self, caller: Caller, now: float) -> bool:
        """Ask a caller; False when that must not be, or not now."""
        schemes = [each for each in self._schemes if caller.protocol in {"", each[0]}]
        if caller.number in self._asking:
            return True
        if not schemes or len(self._asking) >= AT_ONCE or now < self._lately.get(caller.host, 0.0):
            return False
        self._lately[caller.host] = now + AGAIN_SECONDS
        if len(self._lately) > ADDRESSES:
            self._lately.popitem(last=False)
        task = asyncio.create_task(self._ask(caller, schemes), name="ask caller")
        self._asking[caller.number] = task
        task.add_done_callback(lambda _task: self._asking.pop(caller.number, None))
        return True

    def stop(self) -> None:
        """Ask nobody any more."""
        self._schemes = ()
        for task in self._asking.values():
            task.cancel()

    async def _ask(self, caller: Caller, schemes: Sequence[tuple[str, str]]) -> None:
        identity = NOBODY
        for protocol, framing in schemes:
            identity = await self._identity(caller, protocol, framing)
            if identity != NOBODY:
                caller.protocol, caller.framing = protocol, framing
                break
        if caller.link.is_open:
            self._answered(caller, identity)

    async def _identity(self, caller: Caller, protocol: str, framing: str) -> MeterIdentity:
        """What it says in one protocol."""
        where = Endpoint(kind=EndpointKind.INBOUND, host=caller.host)
        meter = Meter(id=f"caller {caller.number}", protocol=protocol, framing=framing, endpoint=where)
        line = PartyLine(caller, caller)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                session = await self._house.driver(protocol).attach(
                    line.open_port(), meter, None, NO_SECRETS, timeout=ANSWER_SECONDS
                )
                try:
                    return await session.identify()
                finally:
                    await session.aclose()
        except (HeadendError, TimeoutError):
            return NOBODY
        finally:
            line.link_lost(LinkClosed("the caller was asked who it is"))
