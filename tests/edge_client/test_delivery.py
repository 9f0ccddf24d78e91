"""When an update is sent again, above all on a link that is slower than that."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.delivery import RECEIPT_TIME_S, Delivery
from edge_client.events import Action, DropOutbox, Publish, PublishFrame, Withdraw
from edge_client.round_trip import MIN_S
from edge_client.state import OutboxEntry
from fedloom.wire.chunks import cut, pack_missing
from fedloom.wire.messages import Missing

MAX_FRAME = 1000


def entry(size: int) -> OutboxEntry:
    blob = bytes(size)
    return OutboxEntry(sha256(blob).digest(), b"h" * 32, b"J" * 16, False, blob)


@pytest.fixture
def delivery() -> Delivery:
    """Connected, at time 0."""
    delivery = Delivery("up", lambda: 0.5)
    delivery.connected(MAX_FRAME, True, 0.0)
    return delivery


def frames(actions: list[Action]) -> int:
    return sum(isinstance(action, Publish | PublishFrame) for action in actions)


def size_of(action: Action) -> int:
    return action.length if isinstance(action, PublishFrame) else len(getattr(action, "payload", b""))


def wait(delivery: Delivery, is_flushed: bool) -> tuple[float, int]:
    """Sleep until the next tick: the time, and the frames that were sent then."""
    assert delivery.resend_at_s is not None
    now_s = delivery.resend_at_s
    return now_s, frames(delivery.tick(is_flushed, now_s))


def test_no_copy_follows_while_the_last_one_is_on_its_way(delivery: Delivery) -> None:
    assert frames(delivery.put(entry(5000), 0.0)) > 1
    sent = [wait(delivery, is_flushed=False)[1] for _ in range(50)]
    assert sum(sent) == 0


def test_a_copy_that_has_left_gets_the_whole_wait(delivery: Delivery) -> None:
    delivery.put(entry(10), 0.0)
    wait(delivery, is_flushed=False)
    seen_s, sent = wait(delivery, is_flushed=True)  # it may have left just now
    assert sent == 0
    again_s, sent = wait(delivery, is_flushed=True)
    assert sent == 1
    assert again_s - seen_s >= RECEIPT_TIME_S


def test_a_new_connection_does_not_repeat_what_the_link_repeats(delivery: Delivery) -> None:
    delivery.put(entry(10), 0.0)
    delivery.disconnected()
    assert frames(delivery.connected(MAX_FRAME, False, 100.0)) == 0
    assert wait(delivery, is_flushed=False)[1] == 0
    delivery.disconnected()
    assert frames(delivery.connected(MAX_FRAME, True, 200.0)) == 1


def test_the_end_takes_back_what_has_not_been_sent(delivery: Delivery) -> None:
    update = entry(10)
    delivery.put(update, 0.0)
    assert delivery.end() == [Withdraw("up"), DropOutbox(update.digest)]
    assert delivery.end() == []


@given(size=st.integers(1, 20_000), rate=st.floats(1.0, 5000.0))
def test_at_most_one_copy_is_in_the_link(size: int, rate: float) -> None:
    """`rate` is the link's, in bytes a second."""
    delivery, left, now_s = Delivery("up", lambda: 0.5), 0.0, 0.0
    delivery.connected(MAX_FRAME, True, now_s)
    actions = delivery.put(entry(size), now_s)
    for _ in range(40):
        sent = sum(size_of(action) for action in actions)
        assert not (sent and left), "a copy behind a copy"
        left += sent
        assert delivery.resend_at_s is not None
        left = max(0.0, left - (delivery.resend_at_s - now_s) * rate)
        now_s = delivery.resend_at_s
        actions = delivery.tick(left == 0.0, now_s)


LARGE = 40 * MAX_FRAME


def answer(delivery: Delivery, missing: list[int], now_s: float) -> int:
    """The aggregator's answer to a question; returns how many frames were sent."""
    transfer = cut(entry(LARGE).digest, LARGE, MAX_FRAME)
    return frames(delivery.missing(Missing(transfer.id, pack_missing(missing, transfer.frames)), now_s))


def test_a_lost_question_is_asked_again_after_as_long_as_answers_take(delivery: Delivery) -> None:
    assert frames(delivery.put(entry(LARGE), 0.0)) == 1
    assert answer(delivery, [0], 0.1) == 1
    delivery.sent(0, 0.2)
    asked_s, sent = wait(delivery, is_flushed=True)
    assert sent == 1
    again_s, sent = wait(delivery, is_flushed=True)
    assert sent == 1
    assert MIN_S <= again_s - asked_s < RECEIPT_TIME_S


def test_where_answers_take_long_nothing_is_asked_twice_in_that_time(delivery: Delivery) -> None:
    delivery.put(entry(LARGE), 0.0)
    answer(delivery, [0], 10.0)
    delivery.sent(0, 10.0)
    assert delivery.resend_at_s is not None
    assert delivery.resend_at_s > 20.0


def test_an_answer_to_what_was_asked_twice_is_not_measured(delivery: Delivery) -> None:
    delivery.put(entry(LARGE), 0.0)
    for _ in range(3):
        now_s, _ = wait(delivery, is_flushed=True)
    answer(delivery, [0], now_s + 50.0)
    assert delivery.resend_at_s is not None
    assert delivery.resend_at_s < now_s + 60.0


def test_where_frames_were_lost_the_receipt_is_not_waited_for(delivery: Delivery) -> None:
    delivery.put(entry(LARGE), 0.0)
    answer(delivery, [0, 1], 5.0)
    delivery.sent(0, 6.0)
    assert delivery.resend_at_s is not None
    assert delivery.resend_at_s > 6.0 + RECEIPT_TIME_S  # nothing was lost so far: it may have come whole
    asked_s, _ = wait(delivery, is_flushed=True)
    answer(delivery, [1], asked_s + 5.0)
    delivery.sent(0, asked_s + 5.5)
    assert delivery.resend_at_s == asked_s + 5.5
    assert wait(delivery, is_flushed=True)[1] == 1
    delivery.sent(0, asked_s + 5.6)  # of what went before the question
    assert delivery.resend_at_s > asked_s + 5.5 + MIN_S
