"""Five hundred devices join at once through the asyncio shell: none is lost, none is let in twice."""

import asyncio
import time
from collections import Counter, deque

import pytest

from aggregator import events as ev
from aggregator.enrolment.throttle import PAUSE_S, Rate
from aggregator.notices import DeviceJoined, JoinPaused
from aggregator.service import MAX_BATCH, Service
from aggregator.startup import assemble
from fedloom.errors import StoreError
from fedloom.link.base import Received
from fedloom.link.memory import MemoryBroker, MemoryLink
from fedloom.wire.messages import Admission

PATIENCE_S = 60.0
DEVICES = 500


class Crowd:
    """Joiners on a memory broker, and a service that answers them."""

    def __init__(self, desk):
        self.desk = desk
        self.broker = MemoryBroker(window=128)
        self.told = []
        self.links = {}

    def attach(self, joiner):
        """The device asks as soon as it has a root document, as real ones do."""
        link = MemoryLink(self.broker, joiner.token.id.hex(), lambda event: self.heard(joiner, event))
        self.links[joiner.token.id] = link
        link.subscribe(joiner.down)
        link.subscribe(joiner.topics.all_roots)
        link.start()

    def heard(self, joiner, event):
        if not isinstance(event, Received):
            return
        self.links[joiner.token.id].acknowledge(event)
        if event.topic == joiner.topics.root(1):
            self.links[joiner.token.id].publish(joiner.up, joiner.request)
        joiner.hear(event.topic, event.payload)

    def service(self):
        rig = self.desk.rig
        rig.crash()
        rig.parts = parts = assemble(rig.config)

        def make_link(on_event):
            return MemoryLink(self.broker, parts.client_id, on_event)

        return Service(
            parts.core, parts.archive, parts.gate, parts.fleet.topics, make_link, self.told.append, broker="hub:1883"
        )

    async def run(self, service, is_over):
        async def pump():
            while not is_over():
                self.broker.run()
                await asyncio.sleep(0.001)
            service.stop()

        pumping = asyncio.create_task(pump())
        try:
            async with asyncio.timeout(PATIENCE_S):
                await service.run()
        finally:
            pumping.cancel()


@pytest.fixture
def crowd(desk):
    return Crowd(desk)


def test_five_hundred_devices_join_at_once(crowd, monkeypatch, record_property):
    desk = crowd.desk
    joiners = [desk.joiner(token) for token in desk.tokens([""] * DEVICES)]  # they all wish the same name
    service = crowd.service()
    sizes = []
    decide = desk.rig.parts.archive.decide
    monkeypatch.setattr(desk.rig.parts.archive, "decide", lambda orders: sizes.append(len(orders)) or decide(orders))
    for joiner in joiners:
        crowd.attach(joiner)
    began_s = time.monotonic()
    asyncio.run(crowd.run(service, lambda: all(joiner.answers for joiner in joiners)))
    record_property("seconds", time.monotonic() - began_s)
    assert {joiner.answers[0].verdict for joiner in joiners} == {Admission.ACCEPTED}
    assert len({joiner.id for joiner in joiners}) == DEVICES
    assert len({joiner.credential.name for joiner in joiners}) == DEVICES
    assert {each.id for each in desk.devices()} == {joiner.id for joiner in joiners} | {desk.rig.devices[0].id}
    assert Counter(type(each) for each in crowd.told)[DeviceJoined] == DEVICES
    assert sum(sizes) == DEVICES
    assert len(sizes) < DEVICES / 4, "requests that wait together share a transaction"


def test_a_disk_that_fails_ends_the_service_without_an_answer(crowd, monkeypatch):
    joiner = crowd.desk.joiner()
    service = crowd.service()

    def fail(*_):
        raise StoreError("the disk is full")

    monkeypatch.setattr(crowd.desk.rig.parts.archive, "decide", fail)
    crowd.attach(joiner)
    with pytest.raises(StoreError, match="the disk is full"):
        asyncio.run(crowd.run(service, lambda: False))
    assert joiner.answers == []


def test_what_wants_the_registrars_word_goes_together_and_rounds_keep_their_order(crowd):
    service = crowd.service()
    joins = [ev.Decide(request) for request in range(MAX_BATCH + 1)]
    renewals = [ev.Renew(bytes([number]), 0.0) for number in range(2)]
    stores = [ev.Store(1, answer) for answer in ("a", "b")]
    turn = ev.Turn(None, None, None)
    service._orders = deque([joins[0], stores[0], *joins[1:], renewals[0], turn, stores[1], None, renewals[1]])
    taken = []
    while service._orders:
        taken.append(service._next_orders())
    assert taken == [joins[:-1], [stores[0]], [joins[-1]], renewals, [turn], [stores[1]], [None]]


def test_a_device_joins_while_strangers_flood(crowd, monkeypatch):
    monkeypatch.setattr("aggregator.enrolment.throttle.OF_MESSAGES", Rate(20, 0))
    joiner, service = crowd.desk.joiner(), crowd.service()
    topics = joiner.topics
    stranger = MemoryLink(crowd.broker, "stranger", lambda _: None)
    stranger.start()

    def is_over():
        stranger.publish(topics.enrol_up(bytes(16)), b"noise")
        if JoinPaused(PAUSE_S, 1) in crowd.told and not crowd.links:
            crowd.attach(joiner)
        return bool(joiner.answers)

    asyncio.run(crowd.run(service, is_over))
    assert joiner.answers[0].verdict is Admission.ACCEPTED
    filters = crowd.broker._sessions[service._link.client_id].filters
    assert filters & {topics.all_enrol_up, joiner.up} == {joiner.up}
