"""What only the memory broker has: the test chooses the order, and the same choices give the same history."""

import random

from fedloom.link.base import Disconnected, Event, Received
from fedloom.link.memory import MemoryBroker, MemoryLink


def history(seed: int) -> list[tuple[str, Event]]:
    """Three links talk, and lose their connections, in an order drawn from the seed."""
    draw, broker, seen = random.Random(seed), MemoryBroker(window=3), []
    links = []
    for name in ("a", "b", "c"):
        link = MemoryLink(broker, name, lambda event, name=name: seen.append((name, event)))
        link.subscribe("x/#")
        link.start()
        links.append(link)
    for number in range(40):
        draw.choice(links).publish(f"x/{draw.randrange(3)}", b"%d" % number, retain=draw.random() < 0.2)
        if draw.random() < 0.2:
            broker.cut(draw.choice("abc"))
        if ready := broker.ready():
            broker.step(draw.choice(ready))
        for name, event in seen[-3:]:
            if isinstance(event, Received) and draw.random() < 0.5:
                links["abc".index(name)].acknowledge(event)
    return seen


def test_the_same_choices_give_the_same_history() -> None:
    assert history(1) == history(1)
    assert history(1) != history(2)


def test_a_step_delivers_to_the_chosen_client_only() -> None:
    broker, seen = MemoryBroker(), []
    for name in ("a", "b"):
        link = MemoryLink(broker, name, lambda event, name=name: seen.append((name, event)))
        link.subscribe("x")
        link.start()
    broker.run()
    seen.clear()
    link.publish("x", b"1")
    assert broker.ready() == ["a", "b"]
    assert broker.step("b")
    assert not broker.step("b")
    assert [name for name, _ in seen] == ["b"]
    assert broker.ready() == ["a"]


def test_unacknowledged_messages_fill_the_window() -> None:
    broker, seen = MemoryBroker(window=2), []
    link = MemoryLink(broker, "a", seen.append)
    link.subscribe("x")
    link.start()
    broker.run()
    for number in range(3):
        link.publish("x", b"%d" % number)
    broker.run()
    received = [event for event in seen if isinstance(event, Received)]
    assert [each.payload for each in received] == [b"0", b"1"]
    link.acknowledge(received[0])
    broker.run()
    assert seen[-1].payload == b"2"


def test_a_crash_forgets_everything() -> None:
    broker, seen = MemoryBroker(), []
    link = MemoryLink(broker, "a", seen.append)
    link.start()
    broker.run()
    link.publish("x", b"kept", retain=True)
    broker.crash()
    assert isinstance(seen[-1], Disconnected)
    assert not broker.step()
    broker.restart()
    link.subscribe("x")
    broker.run()
    assert not [event for event in seen if isinstance(event, Received)]
