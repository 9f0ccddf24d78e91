"""The grid by itself: what it hands over, what it makes of what comes back, and that nobody waits for ever."""

import threading

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from aggregator.events import Asked, Settle, Withdrawn
from aggregator.exchange.letters import Settled
from aggregator.flower.grid import ClosedGridError, MqttGrid
from fedloom.errors import Refused
from fedloom.flower.convert import from_wire, to_wire
from fedloom.flower.nodes import node_of
from fedloom.wire import records
from fedloom.wire import records as wire
from fedloom.wire.records import Reply

DEVICES = [bytes([number]) * 16 for number in (1, 2, 3)]


class Stand:
    """A grid, and what it posts; `answers` are given at once."""

    def __init__(self, answers=None):
        self.posted = []
        self.answers = answers
        self.grid = MqttGrid(7, {"lr": 0.1}, lambda: DEVICES, self.post)

    def post(self, event):
        self.posted.append(event)
        if isinstance(event, Asked) and self.answers:
            self.settle(*(Settled(letter.id, self.answers(letter)) for letter in event.letters))
        if isinstance(event, Withdrawn):
            self.settle(*(Settled(each, None) for each in event.ids))

    def settle(self, *settled):
        self.grid.settle(Settle(settled))

    def letters(self):
        return [letter for event in self.posted if isinstance(event, Asked) for letter in event.letters]


@pytest.fixture(autouse=True)
def _identity():
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 0, 7, 1


def model(**arrays):
    return RecordDict({"model": ArrayRecord({name: Array(np.asarray(values)) for name, values in arrays.items()})})


def messages(stand, content, kind="train"):
    return [Message(content, node, kind, group_id="1") for node in stand.grid.get_node_ids()]


def test_nodes_are_numbers_of_devices():
    assert Stand().grid.get_node_ids() == sorted(map(node_of, DEVICES))


def test_content_for_many_nodes_is_written_once():
    stand = Stand(lambda letter: Reply({}))
    replies = stand.grid.send_and_receive(messages(stand, model(w=[1.0])))
    first, *others = stand.letters()
    assert all(each.request is first.request for each in others)
    request = wire.read_request(first.request)
    assert (request.kind, request.group, request.run, request.settings) == ("train", "1", 7, {"lr": 0.1})
    assert from_wire(request.content)["model"]["w"].numpy().tolist() == [1.0]
    assert {reply.metadata.src_node_id for reply in replies} == set(stand.grid.get_node_ids())
    assert {each.device for each in stand.letters()} == set(DEVICES)


def test_the_same_content_said_one_by_one_has_the_same_bytes():
    """So that the aggregator can put it into one round: apps of the older kind send from a thread a node."""
    stand = Stand()
    for message in messages(stand, model(w=[1.0])):
        stand.grid.push_messages([message])
    assert len({letter.request for letter in stand.letters()}) == 1
    stand.grid.push_messages(messages(stand, model(w=[2.0])))
    assert len({letter.request for letter in stand.letters()}) == 2


def test_replies_have_the_order_of_the_request_and_errors_say_why():
    arrays = to_wire(model(b=np.ones(1), a=np.zeros(2)))
    by_device = dict(
        zip(
            DEVICES,
            [Reply(arrays), Reply(None, 2, "it failed"), Reply(to_wire(model(a=np.ones(9), b=[1.0])))],
            strict=True,
        )
    )
    stand = Stand(lambda letter: by_device[letter.device])
    sent = messages(stand, model(a=np.zeros(2, np.float32), b=np.zeros(1)))
    replies = {reply.metadata.src_node_id: reply for reply in stand.grid.send_and_receive(sent)}
    good, failed, wrong = (replies[node_of(device)] for device in DEVICES)
    assert [(name, array.numpy().dtype) for name, array in good.content["model"].items()] == [("a", "f4"), ("b", "f8")]
    assert (failed.error.code, failed.error.reason) == (2, "it failed")
    assert "shape" in wrong.error.reason
    assert {good.metadata.reply_to_message_id} < {message.metadata.message_id for message in sent}


def test_when_the_time_is_over_what_has_come_is_returned():
    stand = Stand()
    sent = messages(stand, model(w=[1.0]))
    waiting = threading.Thread(target=lambda: got.extend(stand.grid.send_and_receive(sent, timeout=0.0)))
    got = []
    waiting.start()
    waiting.join(60)
    assert got == []
    assert [type(event) for event in stand.posted] == [Asked, Withdrawn]
    assert stand.posted[1].ids == {letter.id for letter in stand.letters()}


@pytest.mark.parametrize("timeout", [float("inf"), 1e12])
def test_an_app_may_wait_for_longer_than_the_machine_can_count(timeout):
    stand = Stand()

    def wait(timeout_s):
        assert timeout_s <= threading.TIMEOUT_MAX
        stand.settle(*(Settled(letter.id, Reply({})) for letter in stand.letters()))

    stand.grid._changed.wait = wait
    assert len(stand.grid.send_and_receive(messages(stand, model(w=[1.0])), timeout=timeout)) == 3


def test_a_devices_words_cannot_move_the_operators_cursor():
    stand = Stand(lambda letter: Reply(None, 2, "\x1b[2J\r\nall is well"))
    replies = stand.grid.send_and_receive(messages(stand, model(w=[1.0])))
    assert {reply.error.reason for reply in replies} == {"·[2J··all is well"}


def test_a_reply_is_pulled_once():
    stand = Stand(lambda letter: Reply({}))
    ids = list(stand.grid.push_messages(messages(stand, model(w=[1.0]))))
    assert len(list(stand.grid.pull_messages(ids))) == 3
    assert list(stand.grid.pull_messages(ids)) == []
    assert stand.letters()[0].timeout_s == 43_200.0


def test_nobody_waits_for_a_grid_that_is_closed():
    stand = Stand()
    sent, failed = messages(stand, model(w=[1.0])), []

    def wait():
        try:
            stand.grid.send_and_receive(sent)
        except ClosedGridError as error:
            failed.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    stand.grid.close()
    waiting.join(60)
    assert failed
    with pytest.raises(ClosedGridError):
        stand.grid.push_messages(sent)


def test_what_no_device_would_take_does_not_leave():
    stand = Stand()
    with pytest.raises(Refused, match=r"non_finite: model\.w"):
        stand.grid.send_and_receive(messages(stand, model(w=[np.nan])))
    with pytest.raises(ValueError, match="complex128 cannot be sent"):
        stand.grid.send_and_receive(messages(stand, model(w=[1j])))
    assert not stand.posted


def test_records_of_flower_come_back_as_they_were():
    content = RecordDict(
        {
            "model": ArrayRecord({"b": Array(np.zeros((2, 0))), "a": Array(np.array(3, np.int8))}),
            "metrics": MetricRecord({"n": 3, "loss": 0.5, "all": [1, 2]}),
            "config": ConfigRecord({"lr": 0.1, "fast": True, "key": b"k", "keys": [b"a"], "names": ["x"], "none": []}),
        }
    )
    again = from_wire(records.read_records(records.encode(to_wire(content))))
    assert {name: dict(record) for name, record in again.items()} == {n: dict(record) for n, record in content.items()}
    assert list(again["model"]) == ["b", "a"]


def test_figures_of_numpy_are_figures():
    content = RecordDict({"metrics": MetricRecord({"loss": np.float64(0.5), "all": [np.float64(1.0)]})})
    assert wire.encode(to_wire(content)) == wire.encode({"metrics": wire.MetricRecord({"loss": 0.5, "all": [1.0]})})
