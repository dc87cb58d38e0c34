from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from headend.errors import Conflict, NotFound
from headend.model.access import Role, User
from headend.storage.store import Store

MINUTE, HOUR = 60_000, 3_600_000


class Clock:
    def __init__(self) -> None:
        self.now = 1_767_225_600_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with Store.open(tmp_path / "h.db", vault_key=None, millis=clock) as store:
        yield store


def test_users_are_known_by_their_password(timed: Store, clock: Clock) -> None:
    user = timed.access.put_user("ada", Role.ADMIN, "correct horse")
    assert user == User(name="ada", role=Role.ADMIN, created_at=clock.now)
    assert timed.access.check_password("ada", "correct horse") == user
    assert timed.access.check_password("ada", "battery staple") is None
    assert timed.access.check_password("bob", "correct horse") is None
    clock.now += HOUR
    changed = timed.access.put_user("ada", Role.VIEWER, None)
    assert (
        timed.access.check_password("ada", "correct horse")
        == changed
        == User(name="ada", role=Role.VIEWER, created_at=user.created_at)
    )
    timed.access.put_user("ada", Role.VIEWER, "battery staple")
    assert timed.access.check_password("ada", "correct horse") is None
    assert timed.access.users() == [changed]
    timed.access.remove_user("ada")
    assert timed.access.check_password("ada", "battery staple") is None


def test_unknown_users_are_not_found(timed: Store) -> None:
    with pytest.raises(NotFound) as caught:
        timed.access.put_user("bob", Role.VIEWER, None)
    assert "password" in caught.value.hint
    with pytest.raises(NotFound):
        timed.access.remove_user("bob")


def test_a_password_hashed_more_weakly_is_hashed_anew_when_it_is_used(timed: Store) -> None:
    timed.access.put_user("ada", Role.ADMIN, "x")
    weak = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("correct horse")
    with timed._database.write() as connection:
        connection.exec_driver_sql("UPDATE users SET password_hash = ?", (weak,))
    assert timed.access.check_password("ada", "correct horse")
    with timed._database.read() as connection:
        stored = connection.exec_driver_sql("SELECT password_hash FROM users").scalar_one()
    assert stored.startswith("$argon2id$")
    assert not PasswordHasher().check_needs_rehash(stored)


def test_a_key_is_shown_once_and_known_again_until_it_is_revoked(timed: Store, clock: Clock) -> None:
    key = timed.access.create_key("scada", Role.OPERATOR)
    assert key.startswith("hk_")
    found = timed.access.check_key(key)
    assert found is not None
    assert (found.name, found.role, found.created_at, found.expires_at) == ("scada", Role.OPERATOR, clock.now, None)
    with pytest.raises(Conflict):
        timed.access.create_key("scada", Role.VIEWER)
    timed.access.remove_key("scada")
    assert timed.access.check_key(key) is None
    with pytest.raises(NotFound):
        timed.access.remove_key("scada")


def test_no_part_of_a_key_opens_anything(timed: Store) -> None:
    key = timed.access.create_key("scada", Role.OPERATOR)
    other = timed.access.create_key("other", Role.ADMIN)
    _, key_id, secret = key.split("_")
    _, other_id, _ = other.split("_")
    wrong = ["", "hk", "hk_", f"hk_{key_id}", f"hk_{key_id}_", key[:-1], key + "0", f"xx_{key_id}_{secret}",
             f"hk_{other_id}_{secret}", f"hk__{secret}", "hk_\udc80_\udc80", secret]  # fmt: skip
    assert [timed.access.check_key(text) for text in wrong] == [None] * len(wrong)


def test_neither_keys_nor_tokens_nor_passwords_lie_in_the_files(timed: Store) -> None:
    timed.access.put_user("ada", Role.ADMIN, "correct horse")
    texts = ["correct horse", timed.access.create_key("scada", Role.VIEWER).split("_")[2]]
    texts.append(timed.logins.open("ada", lifetime_ms=HOUR, idle_ms=MINUTE))
    content = b"".join(path.read_bytes() for path in Path(timed.name).parent.iterdir())
    assert [text for text in texts if text.encode() in content] == []
    assert b"scada" in content


def test_a_key_expires(timed: Store, clock: Clock) -> None:
    key = timed.access.create_key("guest", Role.VIEWER, expires_at=clock.now + HOUR)
    clock.now += HOUR - 1
    assert timed.access.check_key(key)
    clock.now += 1
    assert timed.access.check_key(key) is None


def test_the_last_use_of_a_key_is_kept_to_the_minute(timed: Store, clock: Clock) -> None:
    key, first = timed.access.create_key("scada", Role.VIEWER), clock.now
    for _ in range(3):
        assert timed.access.check_key(key)
        clock.now += MINUTE - 1
    (known,) = timed.access.keys()
    assert known.last_used_at == first + 2 * (MINUTE - 1)


def test_a_key_opens_although_the_disk_is_full(timed: Store) -> None:
    key = timed.access.create_key("scada", Role.ADMIN)
    with timed._database.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE UPDATE ON api_keys BEGIN SELECT RAISE(FAIL, 'full'); END"
        )
    assert timed.access.check_key(key)
    assert timed.access.keys()[0].last_used_at is None


def test_a_login_ends_by_time_idleness_and_hand(timed: Store, clock: Clock) -> None:
    timed.access.put_user("ada", Role.OPERATOR, "pw")
    token = timed.logins.open("ada", lifetime_ms=3 * HOUR, idle_ms=HOUR)
    for _ in range(5):
        user = timed.logins.user(token)
        assert user is not None
        assert (user.name, user.role) == ("ada", Role.OPERATOR)
        clock.now += HOUR // 2
    clock.now += HOUR // 2
    assert timed.logins.user(token) is None
    idle = timed.logins.open("ada", lifetime_ms=9 * HOUR, idle_ms=HOUR)
    clock.now += HOUR
    assert timed.logins.user(idle) is None
    closed = timed.logins.open("ada", lifetime_ms=HOUR, idle_ms=HOUR)
    timed.logins.close(closed)
    assert timed.logins.user(closed) is None
    assert timed.logins.user("nothing") is None


@pytest.mark.parametrize("change", ["role", "remove", "close"])
def test_a_changed_user_has_to_log_in_again(timed: Store, change: str) -> None:
    for name in ("ada", "bob"):
        timed.access.put_user(name, Role.ADMIN, "pw")
    ada, bob = (timed.logins.open(name, lifetime_ms=HOUR, idle_ms=HOUR) for name in ("ada", "bob"))
    if change == "role":
        timed.access.put_user("ada", Role.VIEWER, None)
    elif change == "remove":
        timed.access.remove_user("ada")
    else:
        timed.logins.close_all("ada")
    assert timed.logins.user(ada) is None
    assert timed.logins.user(bob)
