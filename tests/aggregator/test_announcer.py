"""A model larger than what the link takes at once is announced a window at a time, and nothing of it is lost."""

import asyncio

import pytest
from test_service import Network

from aggregator import announcer
from aggregator import events as ev
from aggregator.announcer import AGAIN_S, WINDOW
from aggregator.notices import Done
from fedloom.link.base import Sent
from fedloom.link.memory import MemoryLink

CHUNK = 1024
LARGE = f"outputs = 1\nhidden = [{65 * WINDOW}]"
"""7 weights a unit: almost two windows of chunks."""


@pytest.fixture
def large(make_rig):
    """Three devices, ready; the model has more chunks than the window. Nobody says what the broker has."""
    rig = make_large(make_rig)
    rig.boot()
    rig.parts.core.coordinator.handle(ev.LinkDown(), ev.Now(rig.now_s, rig.utc_s))
    rig.ready()
    rig.work()
    rig.sent.clear()
    return rig


def make_large(make_rig, **settings):
    rig = make_rig(inputs=5, **settings)
    text = rig.config.job.read_text().replace("outputs = 1", LARGE)
    rig.config.job.write_text(text.replace("[update]", f"[update]\nchunk_bytes = {CHUNK}"))
    return rig


def handle(rig, event):
    """What it publishes."""
    actions = rig.parts.core.handle(event, ev.Now(rig.now_s, rig.utc_s))
    return [each for each in actions if isinstance(each, ev.Publish)], actions


def chunks_of(rig):
    topics, ref = rig.parts.fleet.topics, rig.parts.core.coordinator._progress.broadcast.sealed.ref
    return [topics.chunk(ref.cipher_hash, number) for number in range(len(ref.chunk_hashes))]


def said(rig, publishes):
    """Without root documents."""
    return [each.topic for each in publishes if each.topic.split("/")[-2] != "root"]


def test_a_window_at_a_time_then_the_manifest_then_tasks(large):
    chunks, topics = chunks_of(large), large.parts.fleet.topics
    assert WINDOW < len(chunks) < 2 * WINDOW
    under_way = said(large, handle(large, ev.LinkUp())[0])
    assert under_way == chunks[:WINDOW]
    order = []
    while under_way:
        order.append(under_way.pop(0))
        under_way += said(large, handle(large, Sent(order[-1]))[0])
        announced = [each for each in under_way if "/d/" not in each]
        assert len(announced) <= WINDOW
    tasks = [topics.down(device.id) for device in large.devices]
    assert order[: len(chunks) + 1] == [*chunks, topics.manifest]
    assert sorted(order[len(chunks) + 1 :]) == sorted(tasks)


def test_a_device_that_speaks_meanwhile_is_invited_behind_the_manifest(large):
    handle(large, ev.LinkUp())
    large.sent.clear()
    large.ready(large.devices[0])
    assert large.sent == []


def test_what_the_link_had_no_room_for_goes_with_the_next_that_is_sent(large):
    chunks = chunks_of(large)
    first = [each for each in handle(large, ev.LinkUp())[0] if each.topic in chunks]
    assert all(each.tell for each in first)
    refused = tuple(first[5:])
    publishes, actions = handle(large, ev.Unsent(refused))
    assert publishes == []
    assert actions == [ev.WakeAt(large.now_s + AGAIN_S)]
    assert handle(large, ev.Unsent(refused[:1]))[1] == []
    assert handle(large, Sent(first[0].topic))[0] == list(refused[:2])
    assert handle(large, Sent(first[1].topic))[0] == list(refused[2:4])


def test_or_after_a_while(large):
    first = handle(large, ev.LinkUp())[0]
    own = tuple(each for each in first if each.topic.split("/")[-2] != "root")
    handle(large, ev.Unsent(own))
    assert handle(large, ev.Tick())[0] == []
    large.now_s += AGAIN_S
    assert handle(large, ev.Tick())[0] == [own[0]]


def test_a_task_for_which_there_was_no_room_is_said_again(rig):
    first, second, _ = rig.devices
    rig.send(first, rig.devices[0].update())
    rig.work()
    topics = [rig.parts.fleet.topics.down(each.id) for each in (first, second)]
    publishes, actions = handle(rig, ev.Unsent(tuple(ev.Publish(each, b"") for each in topics)))
    assert publishes == []
    assert actions == [ev.WakeAt(rig.now_s + AGAIN_S)]
    rig.now_s += AGAIN_S
    assert [each.topic for each in handle(rig, ev.Tick())[0]] == topics[1:]
    assert handle(rig, ev.Tick())[0] == []


def test_a_new_connection_begins_anew(large):
    chunks = chunks_of(large)
    handle(large, ev.LinkUp())
    for topic in chunks[:10]:
        handle(large, Sent(topic))
    handle(large, ev.LinkDown())
    assert handle(large, Sent(chunks[10]))[0] == []
    assert said(large, handle(large, ev.LinkUp())[0]) == chunks[:WINDOW]


def test_a_small_model_waits_for_nobody(make_rig):
    rig = make_rig()
    rig.boot()
    rig.ready()
    rig.work()
    assert not any(each.tell for each in rig.sent)
    assert all(device.task() for device in rig.devices)


class Narrow(MemoryLink):
    """Sends a message a turn of the pump; what waits meanwhile counts."""

    def _send(self):
        pass

    def trickle(self):
        message = self._queue.take(window=1) if self.online else None
        if message is not None:
            self._queue.drop(message)
            self._broker.route(message)
            if message.tell:
                self.emit(Sent(message.topic))


class NarrowNetwork(Network):
    """Of which the aggregator's link has room for a few chunks."""

    def service(self, **options):
        return super().service(self._narrow, exit_when_done=True, **options)

    def _narrow(self, on_event):
        self.link = Narrow(self.broker, self.rig.parts.client_id, on_event, max_queued_bytes=6 * CHUNK)
        return self.link

    async def pump(self):
        while True:
            self.link.trickle()
            self.broker.run()
            await asyncio.sleep(0)


def test_a_job_whose_model_is_larger_than_the_links_queue(make_rig, monkeypatch):
    monkeypatch.setattr(announcer, "AGAIN_S", 0.01)
    network = NarrowNetwork(make_large(make_rig))
    asyncio.run(network.run(network.service()))
    assert isinstance(network.told[-1], Done)
    retained = {topic for topic in network.broker._retained if "/all/model/" in topic}
    assert retained == set(chunks_of(network.rig))
