"""Commands beyond relay, clock and plain writes: freezing, resetting, clearing, and changing secrets.

Where the meter file names no way of its own (`[[command]]`), those of the standard are taken: the script tables for the end of
a billing period (0-0:10.0.1.255) and for the global reset (0-0:10.0.0.255), capture and reset of profile generic, the secret
of the association, and the keys of the security setup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.clocks import CLOCK, DATE_TIME_LENGTH, epoch_reader
from headend.drivers.dlms.refs import CosemRef, cosem_ref
from headend.drivers.dlms.security_setup import NAMES, SecuritySetup
from headend.drivers.dlms.short_conversation import ShortConversation
from headend.errors import (
    CapabilityError,
    ConfigError,
    HeadendError,
    LinkClosed,
    LinkError,
    MeterError,
    RemoteProtocolError,
)
from headend.model.job import CommandKind, Outcome, Verdict
from headend.model.objects import HistoryRequest
from headend.protocols.dlms.acse import Mechanism
from headend.protocols.dlms.axdr import encode_data, int8, octet_string, uint16
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from datetime import tzinfo

    from headend.drivers.dlms.access import Access
    from headend.drivers.dlms.history import Histories
    from headend.model.meter import Secret
    from headend.model.profile import MeterProfile
    from headend.model.reading import Value
    from headend.protocols.dlms.security.key_changes import KeyId

SCRIPTS: Final = {
    CommandKind.RESET_DEMAND: CosemRef(9, Obis(0, 0, 10, 0, 1, 255), 1),
    CommandKind.CLEAR_METER: CosemRef(9, Obis(0, 0, 10, 0, 0, 255), 1),
}
"""What is executed, by script 1."""
_SCRIPT_TABLE: Final = 9
_PROFILE_GENERIC: Final = 7
_CLEAR, _CAPTURE = 1, 2
_IN_USE: Final = 7
_ASSOCIATION: Final = CosemRef(15, Obis(0, 0, 40, 0, 0, 255), 7)
"""The present association, and its secret; method 2 changes that of high level security."""
_PASSWORDS: Final = frozenset({Mechanism.HLS, Mechanism.HLS_MD5, Mechanism.HLS_SHA1, Mechanism.HLS_SHA256})
_KEYS: Final[Mapping[str, KeyId]] = {name: key_id for key_id, name in NAMES.items()}
_BILLING: Final = 98
"""group C of the logical names of billing records"""
_LEFT: Final = 1
"""rows in a log that was cleared: it notes that it was"""
_TOLERANCE: Final = 10_000
"""milliseconds"""


class Upkeep:
    """Does that in one session."""

    def __init__(self, access: Access, zone: tzinfo, profile: MeterProfile | None, histories: Histories) -> None:
        self._access = access
        self._zone = zone
        self._profile = profile
        self._histories = histories

    # --- what a meter can do ---

    def can_freeze(self) -> bool:
        """True where there is something to freeze, or may be."""
        return self._set_up(CommandKind.FREEZE) or self._profile is None or bool(self._profile.load_profiles)

    def can_reset(self) -> bool:
        """True where demand, events or meter can be reset, as far as the meter file tells."""
        if self._profile is None or any(map(self._set_up, (*SCRIPTS, CommandKind.CLEAR_EVENTS))):
            return True
        known = {setup.ref for setup in self._profile.functions}
        return any(f"{ref.class_id}/{ref.obis}" in known for ref in SCRIPTS.values()) or bool(
            self._profile.load_profiles
        )

    def can_change_secrets(self) -> bool:
        """True where the association has a secret of its own, or keys that a master key may replace."""
        access = self._access
        own = access.parameters.mechanism is Mechanism.LLS or access.parameters.mechanism in _PASSWORDS
        return access.names is None and (own or "mk" in access.secrets)

    def _set_up(self, kind: CommandKind) -> bool:
        return self._profile is not None and any(each.kind is kind for each in self._profile.commands)

    # --- freezing, resetting, clearing ---

    async def freeze(self, params: Mapping[str, Value]) -> Outcome:
        """Let a profile generic capture a row now, or a script run; the row is counted."""
        ref = self._frozen(params)
        if ref.class_id == _SCRIPT_TABLE:
            return await self.script(ref, params.get("value", 1))
        before = await self._access.get(ref.other(_IN_USE))
        outcome = await acknowledged(self._access.invoke(ref.other(_CAPTURE), encode_data(int8(0))))
        if outcome.verdict is not Verdict.CONFIRMED:
            return outcome
        after = await self._rows(ref)
        if not isinstance(after, int) or not isinstance(before, int):
            return Outcome(verdict=Verdict.UNKNOWN, detail="done, not read back")
        if after > before:
            return Outcome(verdict=Verdict.CONFIRMED, observed=after)
        return await self.frozen_since(params, await self._meter_time())

    async def frozen_since(self, params: Mapping[str, Value], since: int | None) -> Outcome:
        """Is the last row of a profile generic younger than a time of the meter's clock?"""
        ref = self._frozen(params)
        rows = await self._rows(ref) if ref.class_id == _PROFILE_GENERIC else None
        if not rows or since is None:
            return Outcome(verdict=Verdict.UNKNOWN, detail="reading does not tell whether it was done")
        last: int | None = None
        request = HistoryRequest(ref=ref.other(2).object_ref, first_entry=rows, last_entry=rows)
        async for block in self._histories.read(request):
            last = block.times[-1] if block.times else None
        if last is None:
            return Outcome(verdict=Verdict.UNKNOWN, detail="the last row has no time")
        done = last >= since - _TOLERANCE
        return Outcome(verdict=Verdict.CONFIRMED if done else Verdict.REFUSED, observed=rows)

    async def meter_time(self, since: int, now: int) -> int | None:
        """What the meter's clock showed at a time of ours; None where it shows none."""
        shown = await self._meter_time()
        return None if shown is None else since + shown - now

    async def _meter_time(self) -> int | None:
        shown = await self._access.get(CLOCK)
        return (
            epoch_reader(self._zone).read(shown)
            if isinstance(shown, bytes) and len(shown) == DATE_TIME_LENGTH
            else None
        )

    async def _rows(self, ref: CosemRef) -> int | None:
        """How many rows a profile generic holds."""
        try:
            rows = await self._access.get(ref.other(_IN_USE))
        except MeterError:
            return None
        return rows if isinstance(rows, int) else None

    def _frozen(self, params: Mapping[str, Value]) -> CosemRef:
        """What keeps the record: as asked for, else as the meter file says."""
        given = params.get("ref")
        if given is not None:
            ref = cosem_ref(str(given).removeprefix("dlms:"))
        else:
            known = [cosem_ref(each.ref.address) for each in (self._profile.load_profiles if self._profile else ())]
            kept = [each for each in known if each.obis.c == _BILLING] or known
            if len(kept) != 1:
                raise ConfigError(
                    "freeze needs ref: the profile generic that keeps the record", hint="ref=7/0-0:98.1.0.255"
                )
            ref = kept[0]
        if ref.class_id not in (_PROFILE_GENERIC, _SCRIPT_TABLE):
            raise ConfigError(f"{ref} freezes nothing", hint="a profile generic (class 7) or a script table (class 9)")
        return ref

    async def run_script(self, kind: CommandKind, params: Mapping[str, Value]) -> Outcome:
        """Reset the demand, or the whole meter, by the script table of the standard."""
        return await self.script(SCRIPTS[kind], params.get("script", 1))

    async def script(self, table: CosemRef, number: Value) -> Outcome:
        """Execute a script of a script table; reading does not tell what it did."""
        if isinstance(number, bool) or not isinstance(number, int) or not 0 < number <= 0xFFFF:
            raise ConfigError(f"a script has a number of 1 to 65535, got {number!r}")
        return await acknowledged(self._access.invoke(table.other(1), encode_data(uint16(number))))

    async def clear_events(self, params: Mapping[str, Value]) -> Outcome:
        """Clear an event log and see that it is empty, but for a row that says so."""
        ref = self._log(params)
        outcome = await acknowledged(self._access.invoke(ref.other(_CLEAR), encode_data(int8(0))))
        return await self.cleared(params) if outcome.verdict is Verdict.CONFIRMED else outcome

    async def cleared(self, params: Mapping[str, Value]) -> Outcome:
        """Is an event log empty?"""
        rows = await self._rows(self._log(params))
        if rows is None:
            return Outcome(verdict=Verdict.UNKNOWN, detail="the log does not tell its rows")
        return Outcome(verdict=Verdict.CONFIRMED if rows <= _LEFT else Verdict.REFUSED, observed=rows)

    @staticmethod
    def _log(params: Mapping[str, Value]) -> CosemRef:
        ref = cosem_ref(str(params.get("ref", "")).removeprefix("dlms:")) if params.get("ref") else None
        if ref is None or ref.class_id != _PROFILE_GENERIC:
            raise ConfigError("clear-events needs ref: the event log", hint="ref=7/0-0:99.98.0.255")
        return ref

    # --- secrets ---

    async def change_secret(self, params: Mapping[str, Value], secret: Secret | None) -> Outcome:
        """Change the password of the association or a global key, and associate anew under it."""
        name = params.get("name")
        if secret is None:
            raise ConfigError("change-secret needs a secret")
        access = self._access
        key_id = _KEYS.get(str(name))
        if name == "secret":
            act = self._change_password(secret)
        elif key_id is not None:
            act = SecuritySetup(access).give_keys({key_id: secret})
        else:
            raise ConfigError(f"a DLMS meter has no secret {name!r}", hint="one of secret, " + ", ".join(_KEYS))
        outcome = await acknowledged(act)
        if outcome.verdict is not Verdict.CONFIRMED:
            return outcome
        try:
            await access.associate_anew({str(name): secret})
        except HeadendError as error:
            if not isinstance(access.conversation, ShortConversation):  # which associates under no other secrets
                access.conversation.poison(LinkClosed("the association under the new secret has failed"))
            return Outcome(verdict=Verdict.UNKNOWN, detail=f"acknowledged, but not associated anew under it: {error}")
        return Outcome(verdict=Verdict.CONFIRMED, detail="associated anew under it")

    async def _change_password(self, secret: Secret) -> None:
        access = self._access
        octets = encode_data(octet_string(secret.reveal()))
        if access.parameters.mechanism is Mechanism.LLS:
            await access.set(_ASSOCIATION, octets)
        elif access.parameters.mechanism in _PASSWORDS:
            await access.invoke(_ASSOCIATION.other(2), octets)
        else:
            raise CapabilityError("this association has no password")


async def acknowledged(act: Awaitable[object]) -> Outcome:
    """Do something that reading does not show: what the meter says is all that is known."""
    try:
        await act
    except MeterError as error:
        return Outcome(verdict=Verdict.REFUSED, detail=str(error))
    except (LinkError, RemoteProtocolError) as error:
        return Outcome(verdict=Verdict.UNKNOWN, detail=str(error))
    return Outcome(verdict=Verdict.CONFIRMED, detail="the meter has acknowledged")
