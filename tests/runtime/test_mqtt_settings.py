"""What the settings make of MQTT: who may do what at the embedded broker, which broker is meant, which layouts are published."""

from __future__ import annotations

from typing import Any

import pytest

from headend.errors import ConfigError
from headend.runtime.mqtt import embedded_broker, layouts, mqtt_target
from headend.runtime.settings_delivery import MqttSettings


@pytest.fixture(autouse=True)
def _words(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADA", "BOB", "OWN"):
        monkeypatch.setenv(f"TEST_{name}", f"{name}'s word")


USERS = {"ada": "env:TEST_ADA", "bob/b": "env:TEST_BOB"}


def settings(**fields: Any) -> MqttSettings:
    return MqttSettings.model_validate(fields)


def test_users_read_everything_and_those_with_a_role_ask_under_their_name() -> None:
    broker = embedded_broker(settings(embedded_users=USERS, roles={"bob/b": "operator"}, layouts=["headend", "ivy"]))
    assert broker is not None
    ada, bob = broker._users["ada"], broker._users["bob/b"]
    assert ada.may_subscribe("headend/v1/#")
    assert not ada.may_publish("headend/v1/meters/m/command/request/ada")
    for prefix in ("headend/v1", "ivy/v1"):
        assert bob.may_publish(f"{prefix}/meters/m/command/request/bob%2Fb")
        assert not bob.may_publish(f"{prefix}/meters/m/telemetry")
    assert broker._anonymous is None
    assert not bob.trusted
    assert broker._users[broker.own_name].trusted


def test_rights_name_topics_of_single_users() -> None:
    rights = {"ada": {"subscribe": ["headend/v1/+/status"], "publish": ["notes/#"]}}
    broker = embedded_broker(settings(embedded_users=USERS, embedded_rights=rights))
    assert broker is not None
    ada = broker._users["ada"]
    assert ada.may_publish("notes/a")
    assert not ada.may_subscribe("headend/v1/meters/#")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"embedded_host": "0.0.0.0"}, "would take anybody"),  # noqa: S104 - refused
        ({"commands": True}, "would let anybody switch meters"),
        ({"embedded_users": USERS, "roles": {"eve": "admin"}}, "mqtt.roles: no such user.*eve"),
        ({"embedded_users": USERS, "embedded_rights": {"eve": {}}}, "mqtt.embedded_rights: no such user.*eve"),
        ({"embedded_users": USERS, "embedded_rights": {"ada": {"publish": ["a+"]}}}, "expected topic filters"),
        ({"layouts": ["ivy", "ivy"]}, "each layout once"),
        ({"layouts": ["ivy", "headend"], "ivy_prefix": "headend/v1"}, "a prefix of its own"),
        ({"ivy_prefix": "a/#", "layouts": ["ivy"]}, "topic prefix"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        embedded_broker(settings(**fields))


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.7", "192.0.2.7")],  # noqa: S104 - of tests
)
def test_the_head_end_comes_to_its_own_broker(host: str, expected: str) -> None:
    mqtt = settings(embedded_host=host, embedded_users=USERS)
    broker = embedded_broker(mqtt)
    assert broker is not None
    target = mqtt_target(mqtt, broker)
    assert (target.host, target.username, target.version) == (expected, broker.own_name, "3.1.1")
    assert target.password is not None
    assert target.password.reveal() == broker.own_password.reveal()


def test_another_broker_is_meant_where_it_is_named() -> None:
    mqtt = settings(broker="mqtts://h", username="u", password="env:TEST_OWN", version="3.1.1")
    assert embedded_broker(mqtt) is None
    target = mqtt_target(mqtt, None)
    assert (target.host, target.port, target.tls, target.username, target.version) == ("h", 8883, True, "u", "3.1.1")
    assert "OWN's" not in repr(target)


def test_the_first_layout_has_the_last_will() -> None:
    made = layouts(settings(layouts=["ivy", "headend"], prefix="a", ivy_prefix="b"))
    assert [each.topics.gateway_status for each in made] == ["b/gateway/status", "a/gateway/status"]
