from __future__ import annotations

import itertools

from headend.model.access import Role


def test_each_role_includes_itself_and_those_before_it() -> None:
    order = [Role.VIEWER, Role.OPERATOR, Role.ADMIN]
    for (i, one), (j, other) in itertools.product(enumerate(order), repeat=2):
        assert one.includes(other) is (i >= j)
