"""The circuit breaker alone: every state with every trigger, and its promises under any history."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headend.errors import AuthenticationFailed, ConfigError, HeadendError, LinkTimeout
from headend.model.recovery import BOUNDS, DEFAULT, MEANINGS, Recovery
from headend.services.acquisition.circuit import TRANSITIONS, Circuit, CircuitState, Trigger, pause
from headend.services.acquisition.schedule import NEVER

CLOSED, OPEN, HALF_OPEN, LOCKED = CircuitState
EXPECTED = {
    # columns: succeeded, proven, failed, tripped, refused, rested
    CLOSED: (CLOSED, CLOSED, CLOSED, OPEN, LOCKED, CLOSED),
    OPEN: (HALF_OPEN, CLOSED, OPEN, OPEN, LOCKED, HALF_OPEN),
    HALF_OPEN: (HALF_OPEN, CLOSED, OPEN, OPEN, LOCKED, HALF_OPEN),
    LOCKED: (CLOSED, CLOSED, LOCKED, LOCKED, LOCKED, LOCKED),
}


@pytest.mark.parametrize(("state", "trigger"), list(itertools.product(CircuitState, Trigger)))
def test_every_state_with_every_trigger(state: CircuitState, trigger: Trigger) -> None:
    assert TRANSITIONS[state].get(trigger, state) is EXPECTED[state][list(Trigger).index(trigger)]


def test_three_failures_open_a_pause_lets_one_try_and_a_success_closes() -> None:
    circuit = Circuit("m1")
    for now in (0.0, 1.0):
        circuit.failed(LinkTimeout("silent"), now)
        assert circuit.state is CLOSED
        assert circuit.refusal(now, insisting=False) is None
    circuit.failed(LinkTimeout("silent"), 2.0)
    assert circuit.state is OPEN
    assert 2.0 + 15.0 <= circuit.retry_at <= 2.0 + 25.0
    refusal = circuit.refusal(3.0, insisting=False)
    assert isinstance(refusal, LinkTimeout)
    assert "not tried again for" in str(refusal)
    assert circuit.refusal(3.0, insisting=True) is None
    assert circuit.state is OPEN
    assert circuit.refusal(circuit.retry_at, insisting=False) is None
    assert circuit.state is HALF_OPEN
    circuit.succeeded()
    assert (circuit.state, circuit.failures, circuit.error) == (CLOSED, 0, None)


def test_each_failed_trial_doubles_the_pause_up_to_its_cap() -> None:
    rules = Recovery(open_after=1, pause_seconds=10, pause_cap_seconds=60, jitter=0)
    circuit, now, pauses = Circuit("m1"), 0.0, []
    for _ in range(5):
        circuit.failed(LinkTimeout("silent"), now, rules)
        pauses.append(circuit.retry_at - now)
        now = circuit.retry_at
        assert circuit.refusal(now, insisting=False) is None
    assert pauses == [10, 20, 40, 60, 60]


def test_as_many_trials_as_are_wanted_must_go_well() -> None:
    rules = Recovery(open_after=1, trials=3)
    circuit = Circuit("m1")
    circuit.failed(LinkTimeout("silent"), 0.0, rules)
    now = circuit.retry_at
    assert circuit.refusal(now, insisting=False) is None
    circuit.succeeded(rules)
    circuit.succeeded(rules)
    assert circuit.state is HALF_OPEN
    circuit.failed(LinkTimeout("silent"), now, rules)
    assert circuit.state is OPEN
    circuit.refusal(circuit.retry_at, insisting=False)
    for _ in range(3):
        circuit.succeeded(rules)
    assert circuit.state is CLOSED


def test_sessions_that_break_too_often_within_an_hour_open_it() -> None:
    rules = Recovery(reopenings_an_hour=3)
    circuit = Circuit("m1")
    for now in (0.0, 1000.0, 3700.0, 4700.0):
        circuit.reopened(LinkTimeout("late"), now, rules)
        assert circuit.state is CLOSED, "never three within an hour"
    circuit.reopened(LinkTimeout("late"), 4701.0, rules)
    assert circuit.state is OPEN
    assert circuit.reopened_within_an_hour(4701.0) == 3
    circuit.refusal(circuit.retry_at, insisting=False)
    circuit.succeeded(rules)
    circuit.reopened(LinkTimeout("late"), 4800.0, rules)
    assert circuit.state is CLOSED, "counting begins anew"
    never = Circuit("m2")
    for now in range(5000):
        never.reopened(LinkTimeout("late"), now / 10, Recovery(reopenings_an_hour=0))
    assert (never.state, len(never.reopenings)) == (CLOSED, 1000)


@given(st.integers(1, 100), st.text(max_size=10), st.floats(0, 0.9))
def test_a_pause_stays_within_its_jitter_and_is_the_same_for_the_same(number: int, seed: str, jitter: float) -> None:
    rules = Recovery(jitter=jitter)
    plain = min(rules.pause_cap_seconds, rules.pause_seconds * 2.0 ** min(number - 1, 32))
    assert (1 - jitter) * plain - 1e-6 <= pause(number, seed, rules) <= (1 + jitter) * plain + 1e-6
    assert pause(number, seed, rules) == pause(number, seed, rules)


class History(RuleBasedStateMachine):
    """Any history of attempts: what the circuit promises holds at every moment."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit = Circuit("any")
        self.rules = Recovery(trials=2, reopenings_an_hour=4)
        self.now = 0.0
        self.in_a_row = 0

    @rule(insisting=st.booleans(), ends=st.sampled_from(["well", "silent", "refused"]), reopened=st.booleans())
    def attempt(self, ends: str, *, insisting: bool, reopened: bool) -> None:
        before = self.circuit.state
        refusal: HeadendError | None = self.circuit.refusal(self.now, insisting=insisting)
        if before is LOCKED:
            assert refusal is not None
        if refusal is not None:
            assert before in (OPEN, LOCKED)
            return
        if ends == "well":
            self.circuit.succeeded(self.rules)
            self.in_a_row = 0
            assert self.circuit.state is not LOCKED
            if reopened:
                self.circuit.reopened(LinkTimeout("late"), self.now, self.rules)
        else:
            self.in_a_row += 1
            error = LinkTimeout("silent") if ends == "silent" else AuthenticationFailed("no")
            self.circuit.failed(error, self.now, self.rules)
            if ends == "refused":
                assert self.circuit.state is LOCKED
            elif before is HALF_OPEN:
                assert self.circuit.state is OPEN

    @rule(seconds=st.floats(0, 2000))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def somebody_uses_other_secrets(self) -> None:
        self.circuit.succeeded(self.rules)
        self.in_a_row = 0

    @invariant()
    def the_state_and_the_times_agree(self) -> None:
        circuit = self.circuit
        assert (circuit.retry_at == NEVER) is (circuit.state is LOCKED)
        if circuit.state is OPEN:
            assert circuit.error is not None
            assert circuit.retry_at <= self.now + self.rules.pause_cap_seconds * (1 + self.rules.jitter)
        if circuit.state is CLOSED:
            assert self.in_a_row < self.rules.open_after
        assert len(circuit.reopenings) <= self.rules.reopenings_an_hour
        assert circuit.failures == self.in_a_row


TestHistory = History.TestCase


def test_thresholds_are_named_bounded_and_explained() -> None:
    names = set(Recovery.__slots__)
    assert names == set(BOUNDS) == set(MEANINGS)
    assert DEFAULT.changed({"renew_reads": 500, "renew_seconds": 60}).renew_reads == 500
    for said, message in (
        ({"renew_read": 1}, "no threshold 'renew_read'"),
        ({"retries": 1.5}, "retries: expected a whole number from 0 to 10, got 1.5"),
        ({"retries": True}, "got True"),
        ({"jitter": 2}, "jitter: expected a number from 0 to 0.9, got 2"),
        ({"pause_seconds": "1"}, "pause_seconds: expected a number"),
    ):
        with pytest.raises(ConfigError, match=message):
            DEFAULT.changed(said)  # type: ignore[arg-type] # what a file may say
