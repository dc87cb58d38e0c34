"""A secret that a meter has refused is not tried again until somebody changes it: meters lock their doors, some for good.

It is remembered beyond a restart, and by the running head-end and commands together, by where the meter is reached. Another
secret, or another address or parameter, is tried again; so is the same one after `release`, for it may be the meter that was
changed. What a meter refuses without a reason, or cannot decipher, counts too, unless the same secrets were accepted before:
then it is likelier to be somebody else's doing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, Protocol

import structlog

from headend.errors import AssociationRejected, AuthenticationFailed, DecipherFailed, HeadendError, StorageError
from headend.model.meter import Meter, Secret

_PERMANENT: Final = 1
_NO_REASON: Final = frozenset({0, 1})
"""Diagnostics of an AARE that say nothing."""

log = structlog.get_logger(__name__)


class Refusals(Protocol):
    """Where it is remembered; see `headend.storage.refusals`."""

    def add(self, place: str, secrets: Mapping[str, Secret], reason: str) -> None:
        """These secrets were refused there."""

    def reason(self, place: str, secrets: Mapping[str, Secret]) -> str:
        """Why these secrets were refused there the last time; empty when they were not."""

    def forget(self, place: str) -> None:
        """Whatever was refused there may be tried again."""


class Lockout:
    """Stands before every try to open a session."""

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self._accepted: dict[str, Mapping[str, Secret]] = {}

    @asynccontextmanager
    async def trying(self, meter: Meter, secrets: Mapping[str, Secret]) -> AsyncIterator[None]:
        """Open the session within this block; raises AuthenticationFailed when its secrets were refused before."""
        if not secrets:
            yield
            return
        place = place_of(meter)
        known = self._accepted.get(place) == secrets
        if not known:
            reason = await asyncio.to_thread(self._refusals.reason, place, secrets)
            if reason:
                raise AuthenticationFailed(
                    f"{reason} (not tried again before somebody changes it)",
                    hint="change the secret or a parameter of the meter; if the meter itself was changed, set the secret anew"
                    " or run headend unlock",
                )
        try:
            yield
        except HeadendError as error:
            if _refuses(error, accepted_before=known):
                self._accepted.pop(place, None)
                await _kept(self._refusals.add, place, secrets, str(error))
            raise
        if not known:
            self._accepted[place] = dict(secrets)
            await _kept(self._refusals.forget, place)

    async def refused(self, meter: Meter, error: HeadendError) -> None:
        """A session that was open has ended in this error: a meter may want the same secrets no more when it is asked again."""
        secrets = self._accepted.pop(place_of(meter), None) if isinstance(error, AuthenticationFailed) else None
        if secrets is not None:
            await _kept(self._refusals.add, place_of(meter), secrets, str(error))

    async def release(self, meter: Meter) -> None:
        """Somebody has set the secrets of a meter, or knows that the meter was changed: they may be tried again."""
        self._accepted.pop(place_of(meter), None)
        await asyncio.to_thread(self._refusals.forget, place_of(meter))


def place_of(meter: Meter) -> str:
    """Where and how a meter is reached, as text: equal for the same meter of the head-end and of a command."""
    params = "&".join(f"{name}={value}" for name, value in sorted(meter.params.items()))
    return f"{meter.protocol}+{meter.framing} {meter.endpoint.wire} {meter.profile_id} {params}"


async def _kept(change: Callable[..., None], *arguments: object) -> None:
    """Note what has happened. Where that cannot be written it has happened all the same: the meter's circuit knows."""
    try:
        await asyncio.to_thread(change, *arguments)
    except StorageError as error:
        log.warning("refused secrets are not kept", reason=str(error))


def _refuses(error: HeadendError, *, accepted_before: bool) -> bool:
    """True for an error that speaks against the secrets."""
    if isinstance(error, AssociationRejected):
        doubted = error.result == _PERMANENT and error.diagnostic in _NO_REASON
    else:
        doubted = isinstance(error, DecipherFailed)
    return isinstance(error, AuthenticationFailed) or (doubted and not accepted_before)
