"""Admission: places are never more than the limit, never lost, and go to whoever waits longest."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream_gateway.upstream.routing.admission import Admission, Ticket

LIMIT, QUEUE = 2, 3


def nothing() -> None:
    """Nobody has to be woken."""


def test_without_a_limit_there_is_always_a_place() -> None:
    admission = Admission()
    for _ in range(1000):
        assert admission.free
        admission.take()
    assert not admission.queues


def test_a_place_that_comes_free_goes_to_the_first_in_line() -> None:
    admission = Admission(1, 2)
    admission.take()
    woken: list[str] = []
    first = admission.wait(lambda: woken.append("first"))
    second = admission.wait(lambda: woken.append("second"))
    assert not admission.queues
    admission.release()
    assert (woken, first.admitted, second.admitted, admission.in_flight) == (["first"], True, False, 1)
    assert not admission.free  # whoever comes now does not overtake


def test_who_leaves_a_queue_leaves_no_hole() -> None:
    admission = Admission(1, 2)
    admission.take()
    first, second = admission.wait(nothing), admission.wait(nothing)
    admission.leave(first)
    admission.release()
    assert second.admitted
    admission.leave(second)  # it was admitted just before it left
    assert (admission.in_flight, admission.waiting, admission.free) == (0, 0, True)


class AdmissionMachine(RuleBasedStateMachine):
    """Attempts come, wait, lose patience and end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(LIMIT, QUEUE)
        self.placed = 0
        self.tickets: list[Ticket] = []

    @precondition(lambda self: self.admission.free)
    @rule()
    def take(self) -> None:
        self.admission.take()
        self.placed += 1

    @precondition(lambda self: self.admission.queues and not self.admission.free)
    @rule()
    def wait(self) -> None:
        self.tickets.append(self.admission.wait(nothing))

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.admission.leave(self.tickets.pop(data.draw(st.integers(0, len(self.tickets) - 1))))

    @precondition(lambda self: self.placed)
    @rule()
    def end(self) -> None:
        self.admission.release()
        self.placed -= 1

    @precondition(lambda self: any(ticket.admitted for ticket in self.tickets))
    @rule()
    def begin(self) -> None:
        self.tickets.remove(next(ticket for ticket in self.tickets if ticket.admitted))
        self.placed += 1

    @invariant()
    def nothing_is_lost(self) -> None:
        admitted = sum(ticket.admitted for ticket in self.tickets)
        assert self.admission.in_flight == self.placed + admitted <= LIMIT
        assert self.admission.waiting == len(self.tickets) - admitted <= QUEUE
        assert not (self.admission.waiting and self.admission.in_flight < LIMIT)

    @invariant()
    def the_line_is_kept(self) -> None:
        admitted = [ticket.admitted for ticket in self.tickets]
        assert admitted == sorted(admitted, reverse=True)


TestAdmissionMachine = AdmissionMachine.TestCase
