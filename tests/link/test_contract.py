"""What every link and broker must do, and where amqtt is known to differ (`Traits`)."""

import time

import pytest

from fedloom.errors import LinkError
from fedloom.link.base import MQTT_MAX_PACKET_BYTES, Connected, Disconnected, Link, QueueFullError, Subscribed, Will


def test_connects_with_the_protocol_that_the_broker_has(stage) -> None:
    (connected,) = stage.peer("a").expect(Connected)
    assert connected.limits.protocol == stage.traits.protocol
    assert connected.limits.receive_maximum >= 20


@pytest.mark.parametrize(
    ("topic_filter", "taken"),
    [("x/y", ["x/y"]), ("x/+", ["x/y", "x/z"]), ("x/#", ["x", "x/y", "x/y/w", "x/z"]), ("+/y/#", ["x/y", "x/y/w"])],
)
def test_subscriptions_with_wildcards_take_their_topics_in_order(stage, topic_filter, taken) -> None:
    listener, speaker = stage.peer("a", topic_filter, "end"), stage.peer("b")
    for topic in ("x", "x/y", "x/y/w", "x/z", "end"):
        speaker.link.publish(f"{stage.prefix}/{topic}", topic.encode())
    listener.expect_payload(b"end")
    assert listener.payloads() == [topic.encode() for topic in [*taken, "end"]]


def test_order_is_kept_under_load(stage) -> None:
    listener, speaker = stage.peer("a", "x"), stage.peer("b")
    numbers = [b"%d" % index for index in range(300)]
    for number in numbers:
        speaker.link.publish(f"{stage.prefix}/x", number)
    for number in numbers:
        listener.link.acknowledge(listener.expect_payload(number))
    assert listener.payloads() == numbers


def test_a_retained_message_awaits_subscribers_until_an_empty_one_clears_it(stage) -> None:
    speaker = stage.peer("a", "x")
    speaker.link.publish(f"{stage.prefix}/x", b"kept", retain=True)
    assert not speaker.expect_payload(b"kept").retained
    early = stage.peer("b", "x")
    assert early.expect_payload(b"kept").retained
    speaker.link.publish(f"{stage.prefix}/x", b"", retain=True)
    early.expect_payload(b"")
    late = stage.peer("c", "x")
    speaker.link.publish(f"{stage.prefix}/x", b"new")
    late.expect_payload(b"new")
    assert late.payloads() == [b"new"]


def test_a_will_is_published_when_the_connection_breaks_and_made_anew_for_the_next(stage) -> None:
    made = []

    def make_will() -> Will:
        made.append(b"lost %d" % len(made))
        return Will(f"{stage.prefix}/will", made[-1], retain=True, delay_s=0)

    listener, mortal = stage.peer("a", "will"), stage.peer("b", will=make_will)
    stage.cut(mortal)
    mortal.expect(Disconnected)
    first = listener.expect_payload(made[0] if stage.traits.protocol == 5 else made[-1])
    listener.link.acknowledge(first)
    mortal.expect(Connected, 2)
    late = stage.peer("c", "will")
    assert late.expect_payload(first.payload).retained
    stage.cut(mortal)
    listener.expect_payload(made[1])


def test_no_will_follows_a_goodbye_and_what_was_queued_is_sent(stage) -> None:
    will = Will(f"{stage.prefix}/will", b"lost", delay_s=0)
    # The mortal subscribes, as our daemons do: amqtt takes a goodbye for a break until its loop for the client runs.
    listener, mortal = stage.peer("a", "#"), stage.peer("b", "own", will=lambda: will)
    mortal.link.publish(f"{stage.prefix}/state", b"bye")
    mortal.link.close()
    listener.expect_payload(b"bye")
    stage.peer("c").link.publish(f"{stage.prefix}/end", b"end")
    listener.expect_payload(b"end")
    assert listener.payloads() == [b"bye", b"end"]
    with pytest.raises(LinkError, match="closed"):
        mortal.link.publish(f"{stage.prefix}/state", b"too late")


def test_no_will_follows_a_goodbye_that_comes_together_with_the_end_of_the_stream(stage) -> None:
    listener = stage.peer("a", "#")
    mortal = stage.peer("b", "own", will=lambda: Will(f"{stage.prefix}/will", b"lost", delay_s=0))
    with stage.paused():
        mortal.link.close()
    stage.peer("c").link.publish(f"{stage.prefix}/end", b"end")
    listener.expect_payload(b"end")
    assert listener.payloads() == [b"end"]


def test_an_unacknowledged_message_comes_again_after_a_reconnection(stage) -> None:
    listener, speaker = stage.peer("a", "x"), stage.peer("b")
    speaker.link.publish(f"{stage.prefix}/x", b"done")
    speaker.link.publish(f"{stage.prefix}/x", b"open")
    listener.link.acknowledge(listener.expect_payload(b"done"))
    stale = listener.expect_payload(b"open")
    listener.link.subscribe(f"{stage.prefix}/y")
    listener.expect(Subscribed, 2)  # so the broker has handled the acknowledgement, which was sent before
    stage.cut(listener)
    listener.expect(Subscribed, 2 + 2)
    speaker.link.publish(f"{stage.prefix}/x", b"end")
    listener.expect_payload(b"end")
    again = [b"open"] if stage.traits.redelivers else []
    assert listener.payloads() == [b"done", b"open", *again, b"end"]
    listener.link.acknowledge(stale)  # its connection is gone: nothing happens


def test_what_was_published_while_away_arrives(stage) -> None:
    stage.peer("a", "x").link.close()
    speaker = stage.peer("b", "x")
    for number in (b"1", b"2", b"3"):
        speaker.link.publish(f"{stage.prefix}/x", number)
        speaker.expect_payload(number)
    back = stage.peer("a")
    assert [back.expect_payload(number).retained for number in (b"1", b"2", b"3")] == (
        [stage.traits.marks_queued_as_retained] * 3
    )
    assert back.payloads() == [b"1", b"2", b"3"]


def test_unsubscribed_topics_are_silent(stage) -> None:
    listener, speaker = stage.peer("a", "x", "y"), stage.peer("b")
    listener.link.unsubscribe(f"{stage.prefix}/x")
    listener.link.subscribe(f"{stage.prefix}/z")
    listener.expect(Subscribed, 3)
    for topic in ("x", "y"):
        speaker.link.publish(f"{stage.prefix}/{topic}", topic.encode())
    listener.expect_payload(b"y")
    assert set(listener.payloads()) == {b"y"}  # which may come twice


def test_a_killed_broker_is_found_again_and_what_waited_is_sent(fragile_stage) -> None:
    stage = fragile_stage
    listener, speaker = stage.peer("a", "x"), stage.peer("b")
    stage.crash()
    listener.expect(Disconnected)
    speaker.expect(Disconnected)
    speaker.link.publish(f"{stage.prefix}/y", b"while it was dead", retain=True)
    listener.link.subscribe(f"{stage.prefix}/y")
    stage.restart()
    listener.expect(Subscribed, 1 + 2)
    listener.expect_payload(b"while it was dead")
    speaker.expect(Connected, 2)
    speaker.link.publish(f"{stage.prefix}/x", b"alive")
    listener.expect_payload(b"alive")
    assert not any(event.fatal for event in listener.all(Disconnected))


def test_an_oversized_message_is_refused_at_once_and_the_link_goes_on(stage) -> None:
    peer = stage.peer("a", "x")
    topic = f"{stage.prefix}/x"
    with pytest.raises(LinkError, match="at most"):
        peer.link.publish(topic, bytes(MQTT_MAX_PACKET_BYTES))
    peer.link.publish(topic, b"small")
    peer.expect_payload(b"small")


@pytest.mark.parametrize("topic", ["", "a/+", "a/#", "a\0b", "a" * 65_536])
def test_an_impossible_topic_is_refused(stage, topic) -> None:
    with pytest.raises(LinkError, match="topic"):
        stage.peer("a").link.publish(topic, b"")


def test_a_full_queue_says_so(stage) -> None:
    link: Link = stage.make_link("full", lambda event: None, None)  # never started: nothing leaves
    for _ in range(63):
        link.publish("x", bytes(1 << 20))
    with pytest.raises(QueueFullError, match="63 messages wait for the broker"):
        link.publish("x", bytes(1 << 20))
    link.close()


def test_what_the_broker_does_not_have_is_counted_and_can_be_withdrawn(stage) -> None:
    listener = stage.peer("a", "x", "y")
    peer = stage.idle_peer("b")
    for number in range(3):
        peer.link.publish(f"{stage.prefix}/x", b"dead %d" % number)
    peer.link.publish(f"{stage.prefix}/y", b"alive")
    assert [peer.link.queued(f"{stage.prefix}/{each}") for each in "xyz"] == [3, 1, 0]
    peer.link.withdraw(f"{stage.prefix}/x")
    peer.link.withdraw(f"{stage.prefix}/z")
    assert [peer.link.queued(f"{stage.prefix}/{each}") for each in "xyz"] == [0, 1, 0]
    peer.link.start()
    listener.expect_payload(b"alive")
    peer.expect(Connected)
    deadline = time.monotonic() + 10.0
    while peer.link.queued(f"{stage.prefix}/y") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert peer.link.queued(f"{stage.prefix}/y") == 0
    assert listener.payloads() == [b"alive"]
