"""Flower's `Grid` over MQTT: what a ServerApp and its strategy talk to. Safe to be called from any thread."""

import threading
import time
import uuid
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import NamedTuple

from flwr.app import Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from aggregator.admission import printable
from aggregator.events import Asked, ExchangeEvent, Settle, Withdrawn
from aggregator.exchange.journal import Recalled
from aggregator.exchange.letters import Letter
from aggregator.flower.replies import in_the_order_of
from fedloom.errors import FedloomError
from fedloom.flower.convert import from_wire, to_wire
from fedloom.flower.nodes import node_of
from fedloom.wire import records
from fedloom.wire.records import Record, Reply, Request, Scalar

Recall = Callable[[bytes, bytes], Recalled | None]
SETTLE_S = 60.0
"""How long what has come may take to be on disk and here, once the app's timeout is over."""


class ClosedGridError(FedloomError):
    """The aggregator has stopped; nothing is sent any more."""


class _Sent(NamedTuple):
    message: Message
    content: dict[str, Record]


class MqttGrid(Grid):  # type: ignore[misc]  # flwr is not read by the type checker
    """One run's grid. A message travels in a round with all others that have the same content."""

    def __init__(
        self,
        run_id: int,
        settings: dict[str, Scalar],
        ready: Callable[[], Iterable[bytes]],
        post: Callable[[ExchangeEvent], None],
        recall: Recall = lambda _request, _device: None,
    ) -> None:
        """`settings`: the run's configuration; `ready`: devices that are there; `post` hands over to the aggregator.

        `recall`: what a process before was told on a request (its SHA-256) by a device.
        """
        self._run = Run.create_empty(run_id)
        self._settings = settings
        self._ready = ready
        self._post = post
        self._recall = recall
        self._devices: dict[int, bytes] = {}
        self._changed = threading.Condition()
        self._sent: dict[str, _Sent] = {}
        """What is under way, or was and its reply was not fetched."""
        self._replies: dict[str, Reply | None] = {}
        """None: there will be none."""
        self._is_closed = False

    def set_run(self, run: Run) -> None:
        """Take over what Flower knows of the run."""
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """As Flower's own constructor."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """The nodes of the devices that are connected and may take part."""
        there = {node_of(device): device for device in tuple(self._ready())}
        self._devices |= there
        return sorted(there)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages over; each is open until its time to live is over."""
        return self._push(messages, None)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that have come to these, each once."""
        with self._changed:
            self._check_open()
            found = [(self._sent.pop(each), self._replies.pop(each)) for each in message_ids if each in self._replies]
        return [_message(sent, reply) for sent, reply in found if reply is not None]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Hand messages over and wait until all are answered or the time is over; returns the replies that came."""
        ids = self._push(messages, timeout)
        if not self._wait(ids, timeout):
            self._post(Withdrawn(frozenset(ids)))
            self._wait(ids, SETTLE_S)
        replies = list(self.pull_messages(ids))
        with self._changed:
            for each in ids:
                self._sent.pop(each, None)  # what is not settled by now has no reply for anybody
        return replies

    def settle(self, event: Settle) -> None:
        """What became of messages; called by the aggregator."""
        with self._changed:
            for settled in event.settled:
                if settled.id in self._sent:
                    self._replies[settled.id] = settled.reply
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _push(self, messages: Iterable[Message], timeout_s: float | None) -> list[str]:
        contents: dict[int, dict[str, Record]] = {}
        requests: dict[tuple[int, str, str, float], tuple[bytes, bytes]] = {}
        letters, sent, recalled = [], {}, {}
        for message in messages:
            meta, key = message.metadata, id(message.content)
            if key not in contents:
                contents[key] = to_wire(message.content)
            kind = (key, meta.message_type, meta.group_id, meta.ttl)
            if kind not in requests:
                blob = self._request(message, contents[key])
                requests[kind] = blob, sha256(blob).digest()
            meta.__dict__["_message_id"] = identity = uuid.uuid4().hex  # as Flower's own grids set it
            meta.__dict__["_run_id"] = self._run.run_id
            device = self._devices.get(meta.dst_node_id, b"")
            request, digest = requests[kind]
            sent[identity] = _Sent(message, contents[key])
            if (told := self._recall(digest, device)) is not None:
                recalled[identity] = told.reply
            else:
                letters.append(Letter(identity, device, request, meta.ttl if timeout_s is None else timeout_s))
        with self._changed:
            self._check_open()
            self._sent |= sent
            self._replies |= recalled
        if letters:
            self._post(Asked(tuple(letters)))
        return list(sent)

    def _request(self, message: Message, content: dict[str, Record]) -> bytes:
        meta = message.metadata
        request = Request(meta.message_type, meta.group_id, self._run.run_id, meta.ttl, self._settings, content)
        blob = records.encode(request)
        records.read_request(blob)  # what no device would take does not leave
        return blob

    def _wait(self, ids: list[str], timeout_s: float | None) -> bool:
        """Whether all of these are settled in time."""
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self._is_closed and not all(each in self._replies for each in ids):
                left_s = None if until_s is None else until_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return False
                self._changed.wait(None if left_s is None else min(left_s, threading.TIMEOUT_MAX))
            self._check_open()
        return True

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedGridError("the aggregator has stopped")


def _message(sent: _Sent, reply: Reply) -> Message:
    """What Flower gets; made in the app's thread, since arrays are copied."""
    if reply.content is None:
        return Message(Error(reply.code, printable(reply.reason)), reply_to=sent.message)  # strategies log it
    try:
        content = in_the_order_of(sent.content, reply.content)
    except ValueError as error:
        return Message(Error(ErrorCode.UNKNOWN, f"the reply does not fit the request: {error}"), reply_to=sent.message)
    return Message(from_wire(content), reply_to=sent.message)
