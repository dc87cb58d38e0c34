from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.telemetry import REDACTED, Timing, configure_logging, redact


@pytest.mark.parametrize("name", ["password", "secret", "ek", "mqtt_password", "Authorization", "session_token", "ak"])
def test_fields_named_like_secrets_are_never_written(name: str) -> None:
    assert redact(None, "info", {name: "12345678", "meter": "m1"}) == {name: REDACTED, "meter": "m1"}


@pytest.mark.parametrize("name", ["meter", "week", "token_count", "break"])
def test_other_fields_stay(name: str) -> None:
    assert redact(None, "info", {name: 1}) == {name: 1}


def test_logs_are_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    import json  # noqa: PLC0415 - next to its one use

    import structlog  # noqa: PLC0415

    try:
        configure_logging(level="info", json=True)
        structlog.get_logger().info("hello", password="12345678", meter="m1")
    finally:
        structlog.reset_defaults()
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "hello"
    assert line["password"] == REDACTED


@given(st.lists(st.floats(0.0, 20.0) | st.sampled_from((0.1, 1.0, 5.0))))
def test_durations_counted_together_fall_into_the_classes_that_a_histogram_gives_them(durations: list[float]) -> None:
    bounds = (0.1, 1.0, 5.0)
    together, single = Timing(bounds), Timing(bounds)
    for seconds in durations:
        single.observe(seconds)
    within = [sum(seconds <= bound for seconds in durations) for bound in bounds]
    total = sum(durations)
    together.observe_all(waiting := list(durations))
    assert together.counts == single.counts
    assert list(accumulate(together.counts)) == [*within, len(durations)]
    assert together.total == pytest.approx(total)
    assert not waiting
