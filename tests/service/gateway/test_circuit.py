"""The circuit breaker: when calls pass."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alerts.clock import ManualClock
from service.gateway.circuit import CircuitBreaker, CircuitState, Permit


class MovableClock(ManualClock):
    """A manual clock without timers, moved by hand outside of a loop."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def breaker(clock: MovableClock, *, threshold: int = 3) -> CircuitBreaker:
    return CircuitBreaker(failure_threshold=threshold, open_s=5, clock=clock)


def admitted(circuit: CircuitBreaker) -> Permit:
    permit = circuit.admit()
    assert permit is not None
    return permit


def state_of(circuit: CircuitBreaker) -> CircuitState:
    return circuit.state


def opened(clock: MovableClock) -> CircuitBreaker:
    circuit = breaker(clock)
    for _ in range(3):
        circuit.failed(admitted(circuit))
    return circuit


def test_failures_in_a_row_open_it():
    """One fewer does not, and a success between them starts the count anew."""
    circuit = breaker(MovableClock())
    for _ in range(2):
        circuit.failed(admitted(circuit))
    circuit.succeeded(admitted(circuit))
    for _ in range(2):
        circuit.failed(admitted(circuit))
    assert state_of(circuit) is CircuitState.CLOSED

    circuit.failed(admitted(circuit))

    assert state_of(circuit) is CircuitState.OPEN
    assert circuit.admit() is None


def test_one_call_tries_whether_it_works_again():
    """After its time one call passes; its success lets everything through."""
    clock = MovableClock()
    circuit = opened(clock)
    clock.now = 4.999
    assert circuit.admit() is None
    clock.now = 5.0

    trial = admitted(circuit)

    assert state_of(circuit) is CircuitState.HALF_OPEN
    assert circuit.admit() is None
    circuit.succeeded(trial)
    assert state_of(circuit) is CircuitState.CLOSED
    assert all(circuit.admit() is not None for _ in range(3))


def test_a_failed_trial_opens_it_for_the_whole_time_again():
    """And not for what is left of the time before."""
    clock = MovableClock()
    circuit = opened(clock)
    clock.now = 7.0
    circuit.failed(admitted(circuit))

    clock.now = 11.999
    assert circuit.admit() is None
    clock.now = 12.0
    assert circuit.admit() is not None


def test_a_trial_that_was_given_up_makes_room_for_the_next():
    """A client that left while it was the one trying does not keep the circuit shut."""
    clock = MovableClock()
    circuit = opened(clock)
    clock.now = 5.0

    circuit.abandoned(admitted(circuit))

    circuit.succeeded(admitted(circuit))
    assert state_of(circuit) is CircuitState.CLOSED


def test_a_verdict_that_comes_late_says_nothing():
    """What was let through before the circuit opened neither closes it nor opens it again."""
    clock = MovableClock()
    circuit = breaker(clock)
    early = [admitted(circuit) for _ in range(5)]
    for permit in early[:3]:
        circuit.failed(permit)
    circuit.succeeded(early[3])
    assert state_of(circuit) is CircuitState.OPEN
    clock.now = 5.0
    trial = admitted(circuit)

    circuit.failed(early[4])

    assert state_of(circuit) is CircuitState.HALF_OPEN
    circuit.succeeded(trial)
    assert state_of(circuit) is CircuitState.CLOSED


class AnyOrder(RuleBasedStateMachine):
    """Calls that begin and end in any order, and time that passes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = MovableClock()
        self.circuit = breaker(self.clock)
        self.out: list[Permit] = []
        self.opened_at: float | None = None

    @rule()
    def begin(self) -> None:
        before = self.circuit.state
        permit = self.circuit.admit()
        if permit is not None:
            self.out.append(permit)
        if before is CircuitState.CLOSED:
            assert permit is not None
        if before is CircuitState.OPEN:
            assert self.opened_at is not None
            assert (permit is not None) == (self.clock.now - self.opened_at >= 5)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), how=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def end(self, data: st.DataObject, how: str) -> None:
        permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        before = self.circuit.state
        getattr(self.circuit, how)(permit)
        after = self.circuit.state
        if before is CircuitState.OPEN:
            assert after is CircuitState.OPEN
        if after is CircuitState.OPEN and before is not CircuitState.OPEN:
            assert how == "failed"
            self.opened_at = self.clock.now

    @rule(seconds=st.floats(0, 6))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def never_stuck(self) -> None:
        """Once all calls have ended and the time is over, the next one passes."""
        if not self.out and self.opened_at is not None and self.clock.now - self.opened_at >= 5:
            permit = self.circuit.admit()
            assert permit is not None
            self.circuit.abandoned(permit)


TestAnyOrder = AnyOrder.TestCase
