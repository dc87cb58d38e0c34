from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from headend.errors import ConfigError
from headend.model.meter import Secret
from headend.northbound.rights import authenticate, covers, is_filter, user

LEVEL = st.sampled_from(["a", "b", ""])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(st.one_of(LEVEL, st.just("+")), min_size=1, max_size=3),
    st.sampled_from([[], ["#"]]),
).filter(bool)


@given(FILTER, TOPIC)
def test_a_filter_covers_the_topics_that_it_matches(allowed: str, topic: str) -> None:
    assert covers(allowed, topic) == topic_matches_sub(allowed, topic)


@given(FILTER, FILTER, TOPIC)
def test_what_covers_a_filter_matches_all_that_it_matches(allowed: str, asked: str, topic: str) -> None:
    if covers(allowed, asked) and topic_matches_sub(asked, topic):
        assert topic_matches_sub(allowed, topic)


@pytest.mark.parametrize(
    ("allowed", "asked", "expected"),
    [
        ("#", "$SYS/#", False),
        ("+/a", "$SYS/a", False),
        ("$SYS/#", "$SYS/a", True),
        ("a/#", "a", True),
        ("a/#", "a/#", True),
        ("a/+", "a/#", False),
        ("a/b", "a/+", False),
        ("#", "#", True),
    ],
)
def test_filters_within_filters(allowed: str, asked: str, expected: bool) -> None:
    assert covers(allowed, asked) is expected


@pytest.mark.parametrize("text", ["a", "+", "#", "a/+/b", "a/#", "/"])
def test_filters(text: str) -> None:
    assert is_filter(text)


@pytest.mark.parametrize("text", ["", "a+", "a/#/b", "#a", "a/b#"])
def test_what_is_no_filter(text: str) -> None:
    assert not is_filter(text)
    with pytest.raises(ConfigError, match="topics of the MQTT user ada"):
        user("ada", Secret(b"x"), subscribe=(), publish=(text,))


def test_passwords() -> None:
    ada = user("ada", Secret(b"correct horse"), subscribe=(), publish=())
    assert authenticate({"ada": ada}, "ada", b"correct horse") is ada
    assert authenticate({"ada": ada}, "ada", b"wrong") is None
    assert authenticate({"ada": ada}, "bob", b"correct horse") is None
    assert "horse" not in repr(ada)
