"""What the profiles of the head-end tell of what was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from headend.model.profile import MeterProfile, ProfileState
from headend.services.profiles.comparing import ProfileChange
from headend.services.profiles.trying import ProfileTrial


class Mismatched(Protocol):
    """An object that a virtual meter did not read back as what it holds."""

    @property
    def ref(self) -> str:
        """The object."""

    @property
    def expected(self) -> str:
        """What it holds."""

    @property
    def got(self) -> str:
        """What was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilePage:
    """One profile: `kept` when the head-end keeps it, and `original` when there is one under the id besides."""

    profile: MeterProfile
    text: str
    kept: bool
    original: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileDiff:
    """What is to be done to the profile `base` so that it becomes the other; `base` is empty where there is none to compare."""

    base: str
    changes: tuple[ProfileChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """How a promotion went: `state` and `revision` after it, and what stands against it where nothing was changed."""

    profile_id: str
    state: ProfileState
    revision: int
    promoted: bool
    mismatches: tuple[Mismatched, ...] = ()
    trial: ProfileTrial | None = None
    tests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What became of one profile of an import: created, changed, same, or refused with an error."""

    place: str
    id: str
    outcome: str
    revision: int = 0
    error: str = ""


def promotion_of(
    profile: MeterProfile,
    *,
    promoted: bool,
    mismatches: tuple[Mismatched, ...] = (),
    trial: ProfileTrial | None = None,
    tests: int = 0,
) -> Promotion:
    """How a promotion went that left a profile as it is now."""
    return Promotion(
        profile_id=profile.id,
        state=profile.state,
        revision=profile.revision,
        promoted=promoted,
        mismatches=mismatches,
        trial=trial,
        tests=tests,
    )
