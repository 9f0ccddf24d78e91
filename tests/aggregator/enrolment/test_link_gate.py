"""What a broker has queued for us is not decided on before it is clear that there is no other of us."""

import pytest
from stage import Stage, database, forged

from aggregator import keys, link_gate
from aggregator.link_gate import LinkGate
from aggregator.rival import QUIET_S, RivalError, RivalWatch
from fedloom.link.base import Connected, Disconnected, Limits, Received, Subscribed, Token
from fedloom.link.memory import MemoryBroker, MemoryLink


class Queued:
    """A round is open and its process has ended; in the session lie a request to join and a device's update."""

    def __init__(self, desk, window=20):
        self.rig, self.joiner = desk.rig, desk.joiner()
        self.rig.ready()
        self.rig.work()
        self.device = self.rig.devices[0]
        self.manifest = self.rig.retained[self.device.topics.manifest]
        self.own = keys.load(self.rig.state)
        self.rig.crash()
        self.stage = Stage(self.rig, MemoryBroker(window=window))
        earlier = MemoryLink(self.stage.broker, self.own.id.hex(), lambda event: None)
        for each in (self.device.topics.all_enrol_up, self.device.topics.all_up):
            earlier.subscribe(each)
        earlier.start()
        self.stage.broker.run()
        earlier.close()
        self.stage.other.publish(self.joiner.up, self.joiner.request)
        self.stage.other.publish(self.device.topics.up(self.device.id), self.device.update())
        self.stage.broker.run()
        self.stage.heard.clear()

    def on_disk(self):
        spool = self.rig.state / "spool"
        return database(self.rig), {path: path.read_bytes() for path in spool.rglob("*") if path.is_file()}


def test_an_old_copy_decides_nothing_that_waits_for_it(desk):
    """Nor does what waits keep the rival's manifest back, though the broker sends one message at a time."""
    queued = Queued(desk, window=1)
    rival = forged(queued.manifest, queued.own.signing, version=8)
    queued.stage.retain(queued.device.topics.manifest, rival)
    before = queued.on_disk()
    with pytest.raises(RivalError, match="manifest version 8"):
        queued.stage.run(queued.stage.service())
    assert queued.stage.heard == []
    assert queued.on_disk() == before


def test_what_waited_is_answered_when_it_is_clear_that_we_are_alone(desk):
    queued = Queued(desk)
    stage, down = queued.stage, queued.device.topics.down(queued.device.id)
    answers = {queued.joiner.down, down}
    stage.run(stage.service(), until=lambda: answers <= set(stage.topics()))
    assert stage.topics()[0] == queued.device.topics.root(1)
    for topic, payload in stage.heard:
        queued.joiner.hear(topic, payload)
        queued.device.hear(topic, payload)
    assert queued.joiner.credential is not None
    assert len(queued.device.receipt_order) == 1


def test_presence_that_was_dropped_is_asked_for_again(make_rig, monkeypatch):
    monkeypatch.setattr(link_gate, "MAX_HELD", 0)
    rig = make_rig(devices=1)
    stage, device = Stage(rig), rig.devices[0]
    service, steps = stage.service(), []

    def until():
        if not steps and device.topics.root(1) in stage.topics():
            steps.append("cut")
            stage.broker.cut(rig.parts.client_id)
            stage.other.publish(device.topics.state(device.id), device.presence(), retain=True)
        return device.topics.manifest in stage.topics()

    stage.run(service, until)


@pytest.fixture
def gate(rig):
    return LinkGate(RivalWatch(keys.load(rig.state).root, lambda: (0, b"")))


def message(number, payload=b"x"):
    return Received(f"fedloom/x/d/{number}/up", payload, False, Token(1, number + 1))


def connect(gate, now_s):
    assert gate.passes(Connected(Limits()), now_s)
    for each in gate.topics:
        gate.passes(Subscribed(each), now_s)


def test_what_is_held_is_handed_on_in_order_and_what_comes_later_passes(gate):
    connect(gate, 10.0)
    assert not any(gate.passes(message(number), 10.0) for number in range(3))
    assert gate.open_if_clear(10.0) is None
    held = gate.open_if_clear(10.0 + QUIET_S)
    assert [each.topic for each in held.messages] == [message(number).topic for number in range(3)]
    assert {each.token.packet_id for each in held.messages} == {0}  # they are acknowledged already
    assert held.is_all
    assert gate.passes(message(3), 11.0)
    assert gate.passes(Disconnected("cut"), 12.0)
    assert not gate.passes(message(4), 12.0)
    connect(gate, 13.0)
    assert [each.topic for each in gate.open_if_clear(13.0 + QUIET_S).messages] == [message(4).topic]


@pytest.mark.parametrize(("bound", "value"), [("MAX_HELD", 2), ("MAX_HELD_BYTES", 20)])
def test_only_so_much_is_held(gate, monkeypatch, bound, value):
    monkeypatch.setattr(link_gate, bound, value)
    connect(gate, 10.0)
    for number in range(5):
        gate.passes(message(number, bytes(10)), 10.0)
    held = gate.open_if_clear(10.0 + QUIET_S)
    assert [each.topic for each in held.messages] == [message(0).topic, message(1).topic]
    assert not held.is_all
    connect(gate, 11.0)
    assert gate.open_if_clear(11.0 + QUIET_S) == ((), True)
