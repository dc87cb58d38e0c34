"""The profiles of the head-end: the library, and in it those that are kept and changed here, revision by revision.

Who may do what is for the caller to see to; what was done is in the audit trail. Methods that are not `async` read and write
files and block for as long.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from headend.drivers.base import Session
from headend.drivers.library import Library, load_profile
from headend.drivers.meter_text import set_meter_key
from headend.errors import ConfigError, Conflict
from headend.model.audit import Action
from headend.model.device import Papers
from headend.model.meter import NO_PARAMS, Meter
from headend.model.profile import MeterProfile, ProfileState, ProfileTest
from headend.model.reading import Value
from headend.services.acquisition.lanes import Lanes
from headend.services.discovery.drafting import fitting
from headend.services.profiles.comparing import difference, nearest
from headend.services.profiles.exchange import from_csv, items, to_csv, to_document, to_line
from headend.services.profiles.results import (
    ImportResult,
    Mismatched,
    ProfileDiff,
    ProfilePage,
    Promotion,
    promotion_of,
)
from headend.services.profiles.texts import raised
from headend.services.profiles.transcribing import Tape, transcribe
from headend.services.profiles.trying import ProfileTrial, try_profile
from headend.services.roster import Roster
from headend.storage.profiles import ProfileFolder, ProfileRevision, check_profile_id

MOST_OCTETS: Final = 2 << 20
"""of the text of one profile"""
TRIAL_SECONDS: Final = 120.0
_PROVEN: Final = frozenset({"object", "link", "association", "load_profile", "client", "function", "push", "quirk"})
"""tables of a meter file that a promotion has tried"""
_APPLIED: Final = frozenset({"command", "alarm"})
"""further ones that what is done with a meter follows"""
_NO_ID: Final = re.compile(r"[^a-z0-9]+")

Auditing = Callable[[str, Action, str, Mapping[str, Value]], None]


class Profiles:
    """The profiles, for REST, console and command line."""

    def __init__(
        self,
        library: Library,
        folder: ProfileFolder,
        *,
        audit: Auditing,
        rehearse: Callable[[MeterProfile, Callable[[], int]], Awaitable[Sequence[Mismatched]]],
        clock: Callable[[], int],
        roster: Roster | None = None,
        lanes: Lanes | None = None,
        is_protected: Callable[[str], bool] = lambda _meter_id: False,
        changed: Callable[[str], None] = lambda _profile_id: None,
    ) -> None:
        """`rehearse` tries a profile on a virtual meter; `is_protected` tells whether a meter's exchanges are ciphered.

        `changed` is called, from whatever thread, when meters of a profile are to be read otherwise than before. Without
        roster and lanes nothing is tried on meters. `clock` in milliseconds.
        """
        self.library = library
        self._folder = folder
        self._audit = audit
        self._rehearse = rehearse
        self._clock = clock
        self._roster = roster
        self._lanes = lanes
        self._is_protected = is_protected
        self._changed = changed

    # --- looking ---

    def list(self) -> Iterator[MeterProfile]:
        """All profiles by id; one that a hand has spoilt raises ConfigError."""
        return iter(self.library)

    def kept(self) -> frozenset[str]:
        """Ids of those that the head-end keeps."""
        return frozenset(self._folder.ids())

    def get(self, profile_id: str) -> ProfilePage:
        """One profile with its text; raises NotFound."""
        path = self.library.path(profile_id)
        return ProfilePage(
            profile=self.library.get(profile_id),
            text=path.read_text(encoding="utf-8"),
            kept=path.parent == self._folder.path,
            original=self.library.original(profile_id) is not None,
        )

    def history(self, profile_id: str) -> Sequence[ProfileRevision]:
        """The revisions of one that is or was kept, oldest first; none for one that came with the program."""
        known = self._folder.history(check_profile_id(profile_id))
        if not known:
            self.library.path(profile_id)
        return known

    def revision(self, profile_id: str, number: int) -> ProfileRevision:
        """One revision with its text; raises NotFound."""
        return self._folder.revision(profile_id, number)

    def check(self, text: str, profile_id: str = "profile") -> MeterProfile:
        """A text as a profile; raises ConfigError with its line, see `line_of_error`."""
        if len(text.encode("utf-8", "replace")) > MOST_OCTETS:
            raise ConfigError(f"a profile has at most {MOST_OCTETS} octets")
        return load_profile(text, profile_id)

    # --- changing ---

    def create(self, profile_id: str, text: str, *, actor: str) -> ProfileRevision:
        """A new profile; raises ConfigError for its text, Conflict for an id that is taken."""
        self._refuse_taken(profile_id)
        return self._keep(profile_id, text, Action.PROFILE_CREATED, actor, before=0)

    def take_device(self, papers: Papers, *, actor: str, profile_id: str = "") -> str:
        """The profile for a discovered device: the one of the library that fits, else its draft, which is kept; returns the id.

        Raises ConfigError for a device that has shown nothing to be drafted.
        """
        fits = fitting(papers.examination, papers.classification)
        if fits and not profile_id and fits in self.library.ids():
            return fits
        if not papers.draft:
            raise ConfigError("the device has shown nothing that a profile could be drafted from")
        return self.take_draft(papers.draft, actor=actor, profile_id=profile_id)

    def take_draft(self, text: str, *, actor: str, profile_id: str = "") -> str:
        """Keep the draft of a discovered meter, under an id made of vendor and model unless one is given; returns the id.

        A meter with the same fingerprint as one whose draft is kept already needs no other: then that one's id.
        """
        drafted = self.check(text)
        if not drafted.objects:
            raise ConfigError("the draft names no object: nothing could be read by it")
        if not profile_id and drafted.fingerprint:
            for known in sorted(self.kept()):
                if self.library.get(known).fingerprint == drafted.fingerprint:
                    return known
        chosen = profile_id or self.free_id(drafted.vendor, drafted.model)
        self.create(chosen, text, actor=actor)
        return chosen

    def update(self, profile_id: str, text: str, *, actor: str, revision: int | None = None) -> ProfileRevision:
        """A new revision. With `revision` it is refused (Conflict) when the profile is another one by now.

        One whose objects or parameters are others than those that were proven is a DRAFT again.
        One that came with the program gets a copy that goes before it. Raises NotFound, ConfigError.
        """
        profile = self.library.get(profile_id)
        if revision is not None and revision != profile.revision:
            raise Conflict(
                f"the profile {profile_id!r} has revision {profile.revision} by now, not {revision}",
                hint="look at it again before changing it",
            )
        states, new = list(ProfileState), self.check(text, profile_id)
        if states.index(new.state) > states.index(profile.state):
            raise ConfigError("a text does not make a profile more trustworthy", hint="leave its state, and promote it")
        if new.state is not ProfileState.DRAFT and any(each.table in _PROVEN for each in difference(profile, new)):
            text = set_meter_key(text, "state", ProfileState.DRAFT.value)
        return self._keep(profile_id, text, Action.PROFILE_CHANGED, actor)

    def restore(self, profile_id: str, number: int, *, actor: str) -> ProfileRevision:
        """An old revision becomes the newest one."""
        old = self._folder.revision(profile_id, number)
        if old.text is None:
            raise Conflict(f"revision {number} of {profile_id!r} is that it was retired")
        return self._keep(profile_id, old.text, Action.PROFILE_CHANGED, actor)

    def retire(self, profile_id: str, *, actor: str) -> ProfileRevision:
        """Take a profile out of use; what came with the program shows again. Raises NotFound, or Conflict while meters use it."""
        used = [] if self.library.original(profile_id) is not None else self._used_by(profile_id)
        if used:
            raise Conflict(
                f"{len(used)} meters use the profile {profile_id!r}, such as {used[0]}",
                hint="give them another one first",
            )
        made = self._folder.retire(profile_id, actor=actor)
        self.library.refresh()
        self._note(Action.PROFILE_RETIRED, actor, profile_id, made)
        self._changed(profile_id)
        return made

    def free_id(self, vendor: str, model: str) -> str:
        """An id for a profile of a model that no other one has."""
        words = [word for word in (_NO_ID.sub("-", text.lower()).strip("-") for text in (vendor, model)) if word]
        stem = "-".join(words)[:56].strip("-") or "meter"
        taken, number = set(self.library.ids()), 1
        while (chosen := stem if number == 1 else f"{stem}-{number}") in taken or self._folder.history(chosen):
            number += 1
        return chosen

    # --- comparing, trying, promoting ---

    def diff(self, profile_id: str, other: str = "") -> ProfileDiff:
        """What differs from another profile, or else from the one of the library that is nearest."""
        return self._diff(self.library.get(profile_id), other)

    def diff_text(self, text: str, profile_id: str, other: str = "") -> ProfileDiff:
        """Likewise of a text that is not kept yet, from another profile or else from what is kept under its id."""
        known = other or (profile_id if profile_id in self.library.ids() else "")
        return self._diff(self.check(text, profile_id), known)

    async def test(self, profile_id: str, meter_id: str) -> ProfileTrial:
        """Read every object of the profile from a meter of ours, through its lane."""
        profile, meter = self._pair(profile_id, meter_id)
        time = asyncio.get_running_loop().time
        return await self._on_meter().run_job(
            meter.id, lambda session: try_profile(profile, session, time), timeout=TRIAL_SECONDS
        )

    async def promote(self, profile_id: str, *, actor: str, meter_id: str = "") -> Promotion:
        """DRAFT becomes EMULATED when a virtual meter of it reads back; EMULATED becomes FIELD_VERIFIED by a meter of ours.

        Nothing is changed where something stands against it: that is in the result. Raises Conflict for one that is as far
        as it goes, and ConfigError where a meter is needed.
        """
        profile = self.library.get(profile_id)
        if profile.state is ProfileState.DRAFT:
            mismatches = tuple(await self._rehearse(profile, self._clock))
            if mismatches:
                return promotion_of(profile, promoted=False, mismatches=mismatches)
            return await asyncio.to_thread(self.raise_to, profile, ProfileState.EMULATED, actor=actor)
        if profile.state is ProfileState.FIELD_VERIFIED:
            raise Conflict(f"the profile {profile_id!r} is field verified already")
        if not meter_id:
            raise ConfigError("a meter in the field is needed to verify a profile", hint="name one of your meters")
        trial, tests = await self._verify(profile_id, meter_id)
        if not trial.answered or trial.stopped or not tests:
            return promotion_of(profile, promoted=False, trial=trial)
        made = await asyncio.to_thread(self.raise_to, profile, ProfileState.FIELD_VERIFIED, tests, actor=actor)
        return replace(made, trial=trial)

    def raise_to(
        self, profile: MeterProfile, state: ProfileState, tests: Sequence[ProfileTest] = (), *, actor: str
    ) -> Promotion:
        """Give a profile a higher state, with the exchanges that prove it; whoever calls has seen to that."""
        self._keep(profile.id, raised(self.get(profile.id).text, state, tests), Action.PROFILE_PROMOTED, actor)
        return promotion_of(self.library.get(profile.id), promoted=True, tests=len(tests))

    # --- giving and taking ---

    def document(self, profile_id: str) -> dict[str, Any]:
        """A profile as JSON by the schema `headend-profile/1`."""
        return to_document(self.library.get(profile_id))

    def csv(self, profile_id: str) -> str:
        """Its object map as CSV."""
        return to_csv(self.library.get(profile_id))

    def export(self, profile_ids: Iterable[str] | None = None) -> Iterator[bytes]:
        """Many profiles, one line of JSON after the other (NDJSON), all without `profile_ids`; raises NotFound before the first."""
        chosen = list(self.library.ids() if profile_ids is None else profile_ids)
        for profile_id in chosen:
            self.library.path(profile_id)
        return (to_line(self.library.get(profile_id)) for profile_id in chosen)

    def take_in(self, data: bytes, *, actor: str, change: bool = False) -> Iterator[ImportResult]:
        """Import profiles from JSON, a JSON array or NDJSON, each for itself; with `change` also over those that are there."""
        for item in items(data):
            if item.error:
                yield ImportResult(place=item.place, id=item.id, outcome="refused", error=item.error)
            else:
                yield self._take_in(item.place, item.id, item.text, actor, change=change)

    def take_in_csv(self, text: str, profile_id: str, *, vendor: str, model: str, actor: str) -> ProfileRevision:
        """Make a profile of an object map; raises ConfigError that names the line, Conflict for an id that is taken."""
        self._refuse_taken(profile_id)
        source = f"imported object map, {self._day()}"
        made = from_csv(text, profile_id, vendor=vendor, model=model, source=source)
        return self._keep(profile_id, made, Action.PROFILE_IMPORTED, actor, before=0)

    # --- within ---

    def _keep(
        self, profile_id: str, text: str, action: Action, actor: str, *, before: int | None = None, least: int = 1
    ) -> ProfileRevision:
        self.check(text, check_profile_id(profile_id))
        original = self.library.original(profile_id)
        if original is not None:
            least = max(least, load_profile(original.read_text(encoding="utf-8"), profile_id).revision + 1)

        def numbered(number: int) -> str:
            return set_meter_key(text, "revision", number)

        earlier = self.library.get(profile_id) if profile_id in self.library.ids() else None
        made = self._folder.keep(profile_id, numbered, actor=actor, action=action.value, least=least, before=before)
        self.library.refresh()
        self._note(action, actor, profile_id, made)
        if earlier is None or _is_read_otherwise(earlier, self.library.get(profile_id)):
            self._changed(profile_id)
        return made

    def _note(self, action: Action, actor: str, profile_id: str, made: ProfileRevision) -> None:
        data: dict[str, Value] = {"revision": made.number, "digest": made.digest}
        self._audit(actor, action, f"profile:{profile_id}", data if made.digest else NO_PARAMS)

    def _take_in(self, place: str, profile_id: str, text: str, actor: str, *, change: bool) -> ImportResult:
        there = profile_id in self.library.ids()
        new = load_profile(text, profile_id)
        if there:
            known = self.library.get(profile_id)
            if not difference(known, new):
                return ImportResult(place=place, id=profile_id, outcome="same", revision=known.revision)
            if not change:
                error = "there is another profile of this id"
                return ImportResult(place=place, id=profile_id, outcome="refused", error=error)
        try:
            made = self._keep(profile_id, text, Action.PROFILE_IMPORTED, actor, least=new.revision)
        except (ConfigError, Conflict) as error:
            return ImportResult(place=place, id=profile_id, outcome="refused", error=error.message)
        outcome = "changed" if there else "created"
        return ImportResult(place=place, id=profile_id, outcome=outcome, revision=made.number)

    async def _verify(self, profile_id: str, meter_id: str) -> tuple[ProfileTrial, Sequence[ProfileTest]]:
        profile, meter = self._pair(profile_id, meter_id)
        if await asyncio.to_thread(self._is_protected, meter_id):
            raise ConfigError(
                f"what {meter_id} says is ciphered: exchanges with it prove nothing to others",
                hint="verify with a meter, or a client, that speaks in plain",
            )
        lanes, time = self._on_meter(), asyncio.get_running_loop().time

        async def work(session: Session) -> tuple[ProfileTrial, Sequence[ProfileTest]]:
            trial = await try_profile(profile, session, time)
            link = lanes.link(meter.endpoint.wire)
            if trial.stopped or link is None:
                return trial, ()
            tape = Tape()
            tape.join(link)
            try:
                return trial, await transcribe(profile, session, tape, meter.framing, self._day())
            finally:
                tape.leave(link)

        return await lanes.run_job(meter.id, work, timeout=TRIAL_SECONDS)

    def _diff(self, profile: MeterProfile, other: str) -> ProfileDiff:
        base = self.library.get(other) if other else nearest(profile, self.library)
        if base is None:
            return ProfileDiff(base="", changes=())
        return ProfileDiff(base=base.id, changes=difference(base, profile))

    def _pair(self, profile_id: str, meter_id: str) -> tuple[MeterProfile, Meter]:
        if self._roster is None:
            raise ConfigError("there are no meters here to try a profile on")
        profile, meter = self.library.get(profile_id), self._roster.state(meter_id).meter
        if profile.protocol != meter.protocol:
            raise ConfigError(
                f"the profile {profile_id!r} is for {profile.protocol}; {meter_id} speaks {meter.protocol}"
            )
        return profile, meter

    def _on_meter(self) -> Lanes:
        if self._lanes is None:
            raise ConfigError("there are no meters here to try a profile on")
        return self._lanes

    def _used_by(self, profile_id: str) -> Sequence[str]:
        return [state.meter.id for state in self._roster or () if state.meter.profile_id == profile_id]

    def _refuse_taken(self, profile_id: str) -> None:
        if check_profile_id(profile_id) in self.library.ids():
            raise Conflict(f"there is a profile {profile_id!r} already", hint="change it, or take another id")

    def _day(self) -> str:
        return datetime.fromtimestamp(self._clock() / 1000, UTC).date().isoformat()


def _is_read_otherwise(one: MeterProfile, other: MeterProfile) -> bool:
    return any(each.table in _PROVEN or each.table in _APPLIED for each in difference(one, other))
