from __future__ import annotations

import pytest

from headend.telemetry import REDACTED, configure_logging, redact


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
