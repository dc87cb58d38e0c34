"""What a poll of a meter reads: the entries of its profile that are polled, as one plan shared by all meters of the model."""

from __future__ import annotations

from functools import lru_cache

from headend.model.objects import ReadPlan
from headend.model.profile import MeterProfile


@lru_cache(maxsize=1024)
def poll_plan(profile: MeterProfile) -> ReadPlan:
    """The polled entries of a profile; the same object for the same profile, so that prepared requests are found at once."""
    return ReadPlan(entries=tuple(entry for entry in profile.objects if entry.poll and entry.quantity))
