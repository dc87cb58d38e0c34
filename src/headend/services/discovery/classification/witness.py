"""Witnesses: each speaks for one maker, with how often such a one is right; and what several of them say together.

Of a maker for which witnesses with reliabilities p, q … speak, the odds against "somebody else" are 1/((1-p)(1-q)…) - 1. With
one witness the probability is its reliability; those that agree strengthen each other, those that disagree share what is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from headend.model.fingerprint import Reason

CERTAIN: Final = 0.999
"""No single witness is believed more than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What speaks for a maker; `reliability` from 0 (tells nothing) to below 1."""

    vendor: str
    reliability: float
    text: str
    fact: str
    method: str
    """identifier, rules, model"""
    flag: str = ""
    model: str = ""
    model_share: float = 0.0
    """of what speaks for the maker, the part that is this model"""
    profile_id: str = ""

    def reason(self, sign: int = 1) -> Reason:
        """As a reason for what it says, or against something else."""
        return Reason(text=self.text, fact=self.fact, weight=round(sign * self.reliability, 4))


def probabilities(witnesses: Iterable[Witness]) -> dict[str, float]:
    """The probability of each maker that is spoken for; what is missing to 1 belongs to nobody of them.

    Of several that speak for the same maker because of the same fact only the most reliable one counts.
    """
    best: dict[tuple[str, str], float] = {}
    for each in witnesses:
        if each.vendor and each.reliability > best.get((each.vendor, each.fact), 0.0):
            best[each.vendor, each.fact] = min(each.reliability, CERTAIN)
    doubt: dict[str, float] = {}
    for (vendor, _fact), reliability in best.items():
        doubt[vendor] = doubt.get(vendor, 1.0) * (1.0 - reliability)
    odds = {vendor: 1.0 / left - 1.0 for vendor, left in doubt.items()}
    total = 1.0 + sum(odds.values())
    return {vendor: each / total for vendor, each in odds.items()}
