"""The asyncio shell around the coordinator: link, clock, worker thread, signals, service manager.

The loop verifies and decides; one worker thread writes and fuses. Whatever was admitted while it wrote goes into its
next batch, so that under load many answers share one fsync (group commit).
"""

import asyncio
import logging
import signal
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from aggregator import events as ev
from aggregator.archive import Archive
from aggregator.core import Core
from aggregator.link_gate import Held, LinkGate
from aggregator.notices import AnyNotice
from aggregator.pulse import Pulse
from aggregator.records import Answer
from fedloom.errors import FedloomError, LinkError
from fedloom.failpoints import failpoint
from fedloom.link.base import (
    Connected,
    Denied,
    Disconnected,
    Event,
    Limits,
    Link,
    OnEvent,
    QueueFullError,
    Received,
    Sent,
)
from fedloom.notify import Notifier
from fedloom.wire.topics import Topics

HOUSEKEEPING_S = 1.0
"""How often changes by `fedloom device` and `fedloom token` are looked for, and the watchdog is fed."""
EVENTS_A_TURN = 32
"""Link events that are handled before the loop may do something else."""
MAX_UNACKNOWLEDGEABLE = 256
"""Waiting events beyond which messages are dropped that the broker does not hold back until we acknowledge them."""
NOT_SENT = "link.not_sent topic=%s reason=%s"
MAX_BATCH = 256
"""Requests to join, or renewals, in one transaction: it keeps a round's answers waiting."""

log = logging.getLogger(__name__)


class Service:
    """One run until it is stopped, done, or cannot go on."""

    def __init__(
        self,
        core: Core,
        archive: Archive,
        gate: LinkGate,
        topics: Topics,
        make_link: Callable[[OnEvent], Link],
        tell: Callable[[AnyNotice], None],
        *,
        broker: str,
        exit_when_done: bool = False,
        notifier: Notifier | None = None,
        housekeeping: Callable[[], None] = lambda: None,
        settle: Callable[[ev.Settle], None] = lambda _: None,
    ) -> None:
        """`broker`: its host and port; `housekeeping` is called every HOUSEKEEPING_S, `settle` in the loop's thread."""
        self._core = core
        self._archive = archive
        self._topics = topics
        self._tell = tell
        self._broker = broker
        self._exit_when_done = exit_when_done
        self._notifier = notifier or Notifier()
        self._pulse = Pulse(2 * self._notifier.alive_every_s)
        self._housekeeping, self._settle = housekeeping, settle
        self._gate = gate
        self._gate_timer: asyncio.TimerHandle | None = None
        self._is_subscribed = False
        self._joining: frozenset[str] = frozenset()
        """Filters of requests to join that are subscribed to."""
        self._max_payload_bytes = Limits().max_packet_bytes
        self._link = make_link(self._from_link)
        self._inbox: deque[Event] = deque()
        self._is_drain_due = False
        self._unsent: list[ev.Publish] = []
        """By the actions that are being carried out."""
        self._orders: deque[ev.Order | None] = deque()
        self._has_orders = asyncio.Event()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Serve until `stop`, the end of the job with `exit_when_done`, or a failure.

        Raises:
            LinkError: the broker refuses us for good.
            StoreError: state could not be made durable, or another aggregator uses it.
        """
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop)
        self._loop.add_signal_handler(signal.SIGHUP, self._look_at_fleet)
        with ThreadPoolExecutor(1, thread_name_prefix="archive") as pool:
            tasks = [asyncio.create_task(self._work(pool)), asyncio.create_task(self._keep_house())]
            try:
                self._handle(ev.Begin())
                for each in self._gate.topics:
                    self._link.subscribe(each)
                self._link.start()
                self._notifier.say("READY=1")
                await self._stop.wait()
            finally:
                self._notifier.say("STOPPING=1")
                await asyncio.to_thread(self._link.close)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End `run` soon; call from the loop's thread."""
        self._stop.set()

    def post(self, event: ev.ExchangeEvent) -> None:
        """An app's event, from any thread, while `run` goes on."""
        self._loop.call_soon_threadsafe(self._handle, event)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._stop.set()

    def _fail_at(self, event: Event | ev.Event, error: Exception) -> None:
        if not isinstance(error, FedloomError):  # its words say all to the operator; of any other, nobody knows why
            log.error("service.failed event=%s", type(event).__name__, exc_info=error)
        self._fail(error)

    def _from_link(self, event: Event) -> None:
        """On the link's thread. Our own messages, and what the broker retained, are never among those dropped."""
        if len(self._inbox) >= MAX_UNACKNOWLEDGEABLE and _is_unacknowledgeable(event):
            return
        self._inbox.append(event)
        if not self._is_drain_due:
            self._is_drain_due = True
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._is_drain_due = False
        for _ in range(EVENTS_A_TURN):
            if not self._inbox or self._failure is not None:
                return
            self._link_event(self._inbox.popleft())
        if self._inbox and not self._is_drain_due:
            self._is_drain_due = True
            self._loop.call_soon(self._drain)

    def _link_event(self, event: Event) -> None:
        try:
            if self._gate.passes(event, time.monotonic()):
                self._let_in(event)
            elif isinstance(event, Received):
                self._link.acknowledge(event)
            self._speak_if_clear()
        except Exception as error:  # noqa: BLE001 - in a callback it would be logged, and the process would go on
            self._fail_at(event, error)

    def _let_in(self, event: Event) -> None:
        match event:
            case Received(topic):
                if topic.endswith("/up"):
                    failpoint("aggregator.message-received")
                self._handle(event)
            case Connected(limits):
                self._max_payload_bytes = limits.max_payload_bytes(self._topics.up(bytes(16)))
            case Disconnected(reason, fatal):
                self._handle(ev.LinkDown())
                if fatal:
                    self._fail(LinkError(f"{self._broker}: {reason}; check [broker] in the configuration"))
            case Sent():
                self._handle(event)
            case Denied(topic, reason):
                log.warning("link.denied topic=%s reason=%s", topic, reason)

    def _speak_if_clear(self) -> None:
        """When no other aggregator has shown itself for long enough."""
        now_s = time.monotonic()
        if self._failure is not None:
            return
        held = self._gate.open_if_clear(now_s)
        if held is not None:
            self._speak(held)
        elif self._gate.wake_at_s is not None:
            if self._gate_timer is not None:
                self._gate_timer.cancel()
            self._gate_timer = self._loop.call_later(self._gate.wake_at_s - now_s, self._speak_if_clear)

    def _speak(self, held: Held) -> None:
        if not self._is_subscribed:
            self._is_subscribed = True
            self._link.subscribe(self._topics.all_states)
            self._link.subscribe(self._topics.all_up)
            self._hear(ev.Listen(frozenset({self._topics.all_enrol_up})))
        elif not held.is_all:
            self._link.subscribe(self._topics.all_states)  # devices do not repeat their presence; the broker does
        self._handle(ev.LinkUp(self._max_payload_bytes))
        for message in held.messages:
            self._handle(message)

    def _handle(self, event: ev.Event) -> None:
        if self._failure is not None:
            return  # nothing more is said
        now = ev.Now(time.monotonic(), time.time())
        try:
            for action in self._core.handle(event, now):
                self._perform(action)
            if self._unsent:
                unsent, self._unsent = tuple(self._unsent), []
                self._handle(ev.Unsent(unsent))
        except Exception as error:  # noqa: BLE001 - whatever it is, what was to be done is done in part: stop
            self._fail_at(event, error)

    def _perform(self, action: ev.Action) -> None:
        match action:
            case ev.Publish():
                self._publish(action)
            case ev.Acknowledge(received):
                self._acknowledge(received)
            case ev.Store() | ev.Fuse() | ev.Turn() | ev.Decide() | ev.Renew():
                self._order(action)
            case ev.WakeAt(at_s):
                self._loop.call_later(max(0.0, at_s - time.monotonic()), self._handle, ev.Tick())
            case ev.Tell(notice):
                self._tell(notice)
            case ev.Warn(problem):
                log.warning("fleet.warning problem=%s", problem)
            case ev.Settle():
                self._settle(action)
            case ev.Resubscribe() | ev.Listen():
                self._hear(action)
            case ev.Finish() if self._exit_when_done:
                self._stop.set()

    def _acknowledge(self, received: Received) -> None:
        self._link.acknowledge(received)
        if received.topic.endswith("/up"):
            failpoint("aggregator.message-acknowledged")

    def _order(self, order: ev.Order) -> None:
        if isinstance(order, ev.Store):
            failpoint("aggregator.message-verified")
        self._orders.append(order)
        self._has_orders.set()

    def _hear(self, action: ev.Resubscribe | ev.Listen) -> None:
        if isinstance(action, ev.Resubscribe):
            self._link.subscribe(self._topics.all_states)
            return
        for each in action.filters - self._joining:
            self._link.subscribe(each)
        for each in self._joining - action.filters:
            self._link.unsubscribe(each)
        self._joining = action.filters

    def _publish(self, action: ev.Publish) -> None:
        if self._unsent:  # the order is kept: small ones behind it would take the room that it waits for
            self._unsent.append(action)
            return
        try:
            self._link.publish(action.topic, action.payload, retain=action.retain, tell=action.tell)
        except QueueFullError as error:
            log.debug(NOT_SENT, action.topic, error)  # what does not come again by itself, the core says again
            self._unsent.append(action)
            return
        except LinkError as error:
            log.warning(NOT_SENT, action.topic, error)
            if action.tell:  # there is no use in waiting for it
                self._loop.call_soon(self._handle, Sent(action.topic))
            return
        if action.topic == self._topics.manifest:
            failpoint("aggregator.manifest-published")

    async def _work(self, pool: ThreadPoolExecutor) -> None:
        while True:
            await self._has_orders.wait()
            try:
                event = await self._loop.run_in_executor(pool, self._pulse.watched, self._job(self._next_orders()))
            except Exception as error:  # noqa: BLE001 - whatever it is, what was to be durable is not: stop
                self._fail(error)
                return
            if event is not None:
                self._handle(event)

    def _next_orders(self) -> list[ev.Order | None]:
        """The oldest order, with those that go into one transaction with it.

        That is all answers right behind an answer, and whatever else wants the registrar's word: it does not matter to
        rounds, nor rounds to it.
        """
        orders = [self._orders.popleft()]
        kind = type(orders[0])
        while kind is ev.Store and self._orders and isinstance(self._orders[0], ev.Store):
            orders.append(self._orders.popleft())
        if kind in (ev.Decide, ev.Renew):
            alike = [each for each in self._orders if isinstance(each, kind)][: MAX_BATCH - 1]
            taken = {id(each) for each in alike}
            self._orders = deque(each for each in self._orders if id(each) not in taken)
            orders += alike
        if not self._orders:
            self._has_orders.clear()
        return orders

    def _job(self, orders: list[ev.Order | None]) -> Callable[[], ev.Event | None]:
        """What the worker thread does for these orders, and the event that answers them."""
        archive = self._archive
        match orders[0]:
            case ev.Store(manifest_version):
                answers: tuple[Answer, ...] = tuple(each.answer for each in orders if isinstance(each, ev.Store))
                return lambda: archive.add(manifest_version, answers)
            case ev.Fuse() as order:
                return lambda: archive.fuse(order)
            case ev.Turn() as turn:
                return lambda: archive.turn(turn)
            case ev.Decide():
                return lambda: archive.decide([each for each in orders if isinstance(each, ev.Decide)])
            case ev.Renew():
                return lambda: archive.renew([each for each in orders if isinstance(each, ev.Renew)])
            case None:
                return archive.changed_fleet

    def _look_at_fleet(self) -> None:
        if not self._orders or self._orders[-1] is not None:
            self._orders.append(None)
            self._has_orders.set()

    async def _keep_house(self) -> None:
        while True:
            if self._pulse.beats(time.monotonic()):
                self._notifier.alive()
            self._look_at_fleet()
            self._housekeeping()
            await asyncio.sleep(min(HOUSEKEEPING_S, self._notifier.alive_every_s / 2 or HOUSEKEEPING_S))


def _is_unacknowledgeable(event: Event) -> bool:
    """Whether it came at QoS 0, as a live message: nothing slows the sender of such down."""
    return isinstance(event, Received) and not event.token.packet_id and not event.retained
