"""The queue keeps its bound, its order and its window, whatever happens in between."""

from hypothesis import given
from hypothesis import strategies as st

from fedloom.link.backoff import full_jitter_s
from fedloom.link.outgoing import Outgoing, OutgoingQueue

STEPS = st.lists(st.sampled_from(["offer", "send", "acknowledge", "lose"]), max_size=60)


@given(steps=STEPS, window=st.integers(1, 4), sizes=st.integers(0, 300))
def test_nothing_is_lost_reordered_or_kept_beyond_the_bound(steps, window, sizes) -> None:
    queue = OutgoingQueue(max_bytes=2000)
    accepted: list[bytes] = []
    sent: list[int] = []
    acknowledged: list[bytes] = []
    packet_id = 0
    for number, step in enumerate(steps):
        if step == "offer":
            message = Outgoing("t", b"%d" % number + bytes(sizes), retain=False)
            if queue.offer(message):
                accepted.append(message.payload)
        elif step == "send" and (taken := queue.take(window)) is not None:
            packet_id += 1
            queue.sent(packet_id, taken)
            sent.append(packet_id)
        elif step == "acknowledge" and sent:
            acknowledged.append(queue.acknowledged(sent.pop(0)).payload)
        elif step == "lose":
            queue.connection_lost()
            sent.clear()
        assert len(sent) <= window
        assert len(queue) <= max(1, 2000 // (256 + sizes))
    queue.connection_lost()
    while (message := queue.take(window)) is not None:
        acknowledged.append(message.payload)
        queue.drop(message)
    assert acknowledged == accepted
    assert len(queue) == 0


@given(steps=STEPS)
def test_each_topic_is_counted_until_the_broker_has_it_or_it_is_withdrawn(steps) -> None:
    queue, sent = OutgoingQueue(max_bytes=10**6), []
    kept = dead = 0  # `dead` waits on a topic that is withdrawn again and again
    for number, step in enumerate(steps):
        if step == "offer":
            kept += queue.offer(Outgoing("kept", b"", retain=False))
            dead += queue.offer(Outgoing("dead", b"", retain=False))
        elif step == "lose":
            queue.withdraw("dead")
            dead = sum(topic == "dead" for topic in sent)
        elif step == "send" and (taken := queue.take(9)) is not None:
            queue.sent(number, taken)
            sent.append(taken.topic)
        elif step == "acknowledge" and sent:
            queue.acknowledged(next(iter(queue._in_flight)))
            kept, dead = (kept - 1, dead) if sent.pop(0) == "kept" else (kept, dead - 1)
        assert (queue.count("kept"), queue.count("dead"), len(queue)) == (kept, dead, kept + dead)


def test_what_is_withdrawn_makes_room() -> None:
    queue = OutgoingQueue(max_bytes=1000)
    assert queue.offer(Outgoing("t", bytes(700), retain=False))
    assert not queue.offer(Outgoing("u", bytes(700), retain=False))
    queue.withdraw("t")
    assert queue.offer(Outgoing("u", bytes(700), retain=False))
    assert [queue.take(1).topic, queue.take(1)] == ["u", None]


def test_an_empty_queue_takes_a_message_of_any_size_and_is_empty_again_after() -> None:
    queue = OutgoingQueue(max_bytes=10)
    large = Outgoing("t", bytes(1000), retain=False)
    for _ in range(2):
        assert queue.offer(large)
        assert not queue.offer(large)
        queue.sent(1, queue.take(1))
        assert queue.acknowledged(1) == large
        assert queue.acknowledged(1) is None


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_full_jitter_stays_below_its_cap(attempt, draw) -> None:
    assert 0 <= full_jitter_s(attempt, draw, first_s=0.5, cap_s=30) <= min(30, 0.5 * 2 ** min(attempt, 10))
