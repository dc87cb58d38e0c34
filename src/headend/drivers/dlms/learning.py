"""What is learned of a meter for all its associations: scalers that it told twice alike, and how long lists may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.answers import Scale
from headend.drivers.dlms.refs import CosemRef, cosem_ref
from headend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headend.drivers.knowledge import Knowledge
    from headend.errors import HeadendError

MOST: Final = 0x7F
"""attributes in one list, so that their number takes one octet"""
FULL_EVERY: Final = 50
"""one association in so many tries the longest lists again"""
MAX_SCALES: Final = 2048


class _Learned:
    """The facts of one meter, ready for use."""

    __slots__ = ("associations", "most", "scales")

    def __init__(self, facts: Mapping[str, object]) -> None:
        self.associations = 0
        most, scalers = facts.get("list_size"), facts.get("scalers")
        self.most = most if isinstance(most, int) and 0 < most < MOST else MOST
        self.scales: dict[CosemRef, Scale] = {}
        try:
            for ref, (exponent, unit) in scalers.items() if isinstance(scalers, dict) else ():
                self.scales[cosem_ref(ref)] = Scale(int(exponent), str(unit))
        except (ConfigError, ValueError, TypeError):
            self.scales.clear()


def _learned(knowledge: Knowledge) -> _Learned:
    kept = knowledge.kept
    if not isinstance(kept, _Learned):
        kept = knowledge.kept = _Learned(knowledge.facts)
    return kept


def learned_scales(knowledge: Knowledge) -> Mapping[CosemRef, Scale]:
    """Scalers and units that need not be asked for."""
    return _learned(knowledge).scales


def learn_scales(knowledge: Knowledge, told: Mapping[CosemRef, Scale | HeadendError]) -> None:
    """The meter has told scalers: what it tells in two associations alike is not asked again."""
    learned = _learned(knowledge)
    if len(learned.scales) + len(told) > MAX_SCALES:
        return
    sure = {ref: scale for ref, scale in told.items() if isinstance(scale, Scale) and knowledge.confirmed((ref, scale))}
    if sure:
        learned.scales |= sure
        knowledge.tell("scalers", {str(ref): list(scale) for ref, scale in learned.scales.items()})


def learned_most(knowledge: Knowledge) -> int:
    """How many attributes an association begins to ask for in one list."""
    learned = _learned(knowledge)
    learned.associations += 1
    return learned.most if learned.associations % FULL_EVERY else MOST


def learn_most(knowledge: Knowledge, refused: int) -> int:
    """The meter does not take a list of so many attributes: how long they are from now on; 1 without lists."""
    most = max(1, refused // 2)
    if knowledge.confirmed(("list", refused)):
        _learned(knowledge).most = most
        knowledge.tell("list_size", most if most < MOST else None)
    return most
