"""Which of several errors people are told."""

from __future__ import annotations

from headend.errors import HeadendError


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error of the tree in a group, else the first of all."""
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        found = waiting.pop(0)
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions
        else:
            leaves.append(found)
    return next((leaf for leaf in leaves if isinstance(leaf, HeadendError)), leaves[0])
