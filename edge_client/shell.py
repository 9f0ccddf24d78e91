"""The daemon around the session: one thread that waits for the link's events and carries out the session's actions.

Training runs in the same thread. Meanwhile the link's thread keeps the connection alive; its events wait in the queue.
"""

import logging
import os
import queue
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_client import events, logs
from edge_client.config import EdgeConfig
from edge_client.effects import Effects
from edge_client.incarnation import next_incarnation
from edge_client.memory import give_back
from edge_client.outbox import STATE_REMEDY, StateDirectory
from edge_client.repair import old_copy
from edge_client.rounds import Bounds, declined
from edge_client.session import Session
from edge_client.state import DeviceState
from fedloom.data.config import SourceConfig
from fedloom.errors import ConfigError, LinkError, StoreError
from fedloom.failpoints import failpoint
from fedloom.link import base
from fedloom.link.backoff import draw
from fedloom.notify import Notifier
from fedloom.trust.device_keys import DeviceKeys, load_device_keys
from fedloom.wire.messages import Phase

if TYPE_CHECKING:
    from edge_client.flower.runner import FlowerRunner
    from edge_client.training import Training

MakeLink = Callable[[EdgeConfig, str, base.OnEvent, base.MakeWill], base.Link]
IDLE_S = 30.0
"""The longest that the loop sleeps."""

log = logging.getLogger("fedloom.edge")


def mqtt_link(config: EdgeConfig, client_id: str, on_event: base.OnEvent, will: base.MakeWill) -> base.Link:
    """The link of a real device."""
    from fedloom.link.mqtt import MqttLink

    return MqttLink(config.broker, client_id, on_event, will=will)


def open_session(config: EdgeConfig, keys: DeviceKeys, directory: StateDirectory) -> Session:
    """The session as the last process has left it.

    Raises:
        StoreError: the state is damaged, or another device's.
    """
    contents = directory.read()
    state = contents.state or DeviceState(keys.id, next_incarnation(Path(config.keys), time.time()))
    if state.device != keys.id:
        problem = f"{directory.path}: belongs to device {state.device.hex()}, the keys to {keys.id.hex()}"
        raise StoreError(f"{problem}; name another `state` or the right `keys`")
    if problem := old_copy(directory, state, Path(config.keys)):
        raise StoreError(f"{problem}; {STATE_REMEDY}")
    contents = directory.tidy(contents._replace(state=state))
    state = contents.state or state
    limits = config.limits
    bounds = Bounds(limits.max_model_bytes, limits.max_outbox_bytes, limits.max_frame_bytes, limits.max_outbox_age_s)
    sleeps = config.power.sleep_between_rounds
    return Session(keys, state, contents.entries, bounds, os.urandom, draw, sleeps)


class Daemon:
    """One device, from its start to SIGTERM."""

    def __init__(
        self,
        config: EdgeConfig,
        read_config: Callable[[], EdgeConfig],
        make_link: MakeLink = mqtt_link,
        exit_when_done: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take hold of keys and state; `read_config` reads the configuration again.

        Raises:
            TrustError, StoreError, ConfigError: they cannot be used.
        """
        self._config = config
        self._read_config = read_config
        self._exit_when_done = exit_when_done
        self._clock = clock
        self._notifier = Notifier(clock=clock)
        keys = load_device_keys(Path(config.keys))
        self._device = keys.id
        self._directory = StateDirectory(Path(config.state))
        self._directory.hold()
        self._session = open_session(config, keys, self._directory)
        self._training: Training | None = None
        self._app: FlowerRunner | None = None
        self._queue: queue.SimpleQueue[base.Event | None] = queue.SimpleQueue()
        self._work: events.Work | None = None
        self._peek: bytes | None = None
        """The last manifest that came, perhaps one that ends the training; set by the link's thread alone."""
        self._judged: bytes | None = None
        """The one of them that training has looked at."""
        self._bedtime_s: int | None = None
        """For so long it is to sleep, once the receipt that says so is acknowledged: else that would come again."""
        self._is_stopping = False
        self._must_reload = False
        self._up = self._session.topics.up(keys.id)
        self._make_link = make_link
        self._link = make_link(config, keys.id.hex(), self._on_event, self._will)
        self._effects = Effects(self._link, self._directory, Path(config.keys))

    def run(self) -> None:
        """Work until told to stop.

        Raises:
            LinkError: the broker refuses us for good.
            StoreError: durable state cannot be written; what is on disk is sound.
        """
        try:
            self._handle(events.Started(self._directory.ages_s(time.time())))
            self._link.start()
            log.info("edge.ready device=%s", self._device.hex())
            self._notifier.say("READY=1", "STATUS=connecting")
            give_back()
            while not self._is_stopping:
                self._turn()
            log.info("edge.stopping device=%s", self._device.hex())
            self._notifier.say("STOPPING=1")
            self._handle(events.Stopping())
        except LinkError:
            raise  # nothing can be said any more
        except Exception:
            # Closing the link takes the last will back, and nobody else would tell the aggregator.
            self._effects.carry_out(self._session.goodbye())
            raise
        finally:
            self._link.close()
            self._forget_work()
            self._directory.release()

    def catch_signals(self) -> None:
        """SIGTERM and SIGINT stop, SIGHUP reloads."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        signal.signal(signal.SIGHUP, lambda *_: self.reload())

    def stop(self) -> None:
        """End training at its next step, say goodbye, and return from `run`; from any thread or signal handler."""
        self._is_stopping = True
        self._queue.put(None)

    def reload(self) -> None:
        """Read configuration and data again; from any thread or signal handler."""
        self._must_reload = True
        self._queue.put(None)

    def _on_event(self, event: base.Event) -> None:
        """Called in the link's thread."""
        if isinstance(event, base.Received) and event.topic == self._session.topics.manifest:
            self._peek = event.payload
        self._queue.put(event)

    def _will(self) -> base.Will:
        """Called in the link's thread."""
        will = self._session.will()
        return base.Will(will.topic, will.payload, will.retain)

    def _turn(self) -> None:
        """Wait for one thing, and deal with it."""
        try:
            event = self._queue.get(timeout=self._patience_s())
        except queue.Empty:
            if self._work is not None:
                self._train(self._work)
        else:
            if event is not None:
                self._on_link(event)
        if self._session.wake_at_s is not None and self._session.wake_at_s <= self._clock():
            self._handle(events.Tick(self._is_flushed()))
        if self._must_reload:
            self._must_reload = False
            self._reload()
            self._handle(events.Awaken())
        self._notifier.alive()

    def _is_flushed(self) -> bool:
        return self._link.queued(self._up) == 0

    def _patience_s(self) -> float:
        if self._work is not None:
            return 0.0  # what waits in the queue comes first: it may end the work
        bounds = [IDLE_S, self._notifier.alive_every_s or IDLE_S]
        if self._session.wake_at_s is not None:
            bounds.append(max(0.0, self._session.wake_at_s - self._clock()))
        return min(bounds)

    def _on_link(self, event: base.Event) -> None:
        match event:
            case base.Received(topic, payload):
                if topic == self._session.topics.manifest:
                    failpoint("device.manifest-received")
                elif self._session.is_waiting and self._is_flushed():
                    failpoint("device.update-acknowledged")
                self._handle(events.Came(topic, payload))
                self._link.acknowledge(event)
                self._sleep_if_due()
            case base.Connected(limits):
                log.info("link.up protocol=%d", limits.protocol)
                self._notifier.say("STATUS=connected")
                payload_bytes, window = limits.max_payload_bytes(self._up), limits.receive_maximum
                self._handle(events.Connected(payload_bytes, self._is_flushed(), window))
            case base.Sent():
                self._handle(events.Sent(self._link.queued(self._up)))
            case base.Disconnected(reason, fatal):
                if fatal:
                    broker = self._config.broker
                    raise LinkError(f"{broker.host}:{broker.port}: {reason}; check [broker] in the configuration")
                self._notifier.say(f"STATUS=disconnected: {reason}")
                self._handle(events.Disconnected())
            case base.Denied(topic, reason):
                log.warning("link.denied topic=%s reason=%r", topic, reason)
            case base.Subscribed(topic_filter):
                log.debug("link.subscribed filter=%s", topic_filter)

    def _handle(self, event: events.Event) -> None:
        answers: list[events.Event] = []
        for action in self._session.handle(event, self._clock()):
            match action:
                case events.Train(work):
                    self._work = work
                case events.Abandon():
                    self._work = None
                case events.Sleep(seconds):
                    self._effects.carry_out(action)
                    self._bedtime_s = seconds
                case events.Wake():
                    self._effects.carry_out(action)
                    self._wake()
                case events.Finished():
                    log.info("job.finished")
                    self._is_stopping = self._is_stopping or self._exit_when_done
                case _:
                    answer = self._effects.carry_out(action)
                    if answer is not None:
                        answers.append(answer)
        for answer in answers:
            self._handle(answer)

    def _sleep_if_due(self) -> None:
        """Close the link; what it had still for us, the broker keeps, and a new link hears it again."""
        seconds, self._bedtime_s = self._bedtime_s, None
        if seconds is None:
            return
        self._link.close()
        while not self._queue.empty():
            self._queue.get_nowait()  # of the old link: it cannot be acknowledged on another
        self._notifier.say(f"STATUS=sleeping for {seconds} s")
        give_back()

    def _wake(self) -> None:
        self._link = self._make_link(self._config, self._device.hex(), self._on_event, self._will)
        self._effects.use(self._link)
        self._link.start()
        self._notifier.say("STATUS=connecting")

    def _train(self, work: events.Work) -> None:
        where = (work.brief.job_name, work.manifest.phase.value, work.manifest.round)
        self._notifier.say("STATUS=working on job {} ({} {})".format(*where))
        log.debug("work.begun job=%s phase=%s round=%d", *where)
        began_s = self._clock()
        answer = self._answer(work)
        if answer is None:
            log.info("work.interrupted job=%s phase=%s round=%d", *where)
            return  # begun again, unless what interrupted it has ended it
        self._work = None
        log.info("work.done job=%s phase=%s round=%d seconds=%.3f", *where, self._clock() - began_s)
        self._handle(events.Trained(work, answer))

    def _answer(self, work: events.Work) -> events.Answer | None:
        if work.manifest.phase is Phase.EXCHANGE:
            return self._runner().run(work, self._should_stop)
        if self._config.data is None:
            return declined("this device has no data: its configuration has no [data] table")
        return self._trainer(self._config.data).run(work, self._should_stop)

    def _trainer(self, source: SourceConfig) -> "Training":
        """Made with the first work: idle, a device does without all that training needs."""
        from edge_client.training import Training

        if self._training is None:
            kept = self._directory.residuals.read, self._directory.controls.read
            own = self._directory.personals.read
            self._training = Training(source, self._device, *kept, self._notifier.alive, own)
        return self._training

    def _runner(self) -> "FlowerRunner":
        """Likewise."""
        from edge_client.flower.runner import FlowerRunner

        if self._app is None:
            context, limit = self._directory.residuals.read, self._config.limits.max_outbox_bytes
            self._app = FlowerRunner(self._config.flower, self._device, context, limit)
        return self._app

    def _forget_work(self) -> None:
        """The next work reads data and configuration again."""
        self._training = None
        if self._app is not None:
            self._app.close()
            self._app = None

    def _should_stop(self) -> bool:
        """Called before each step of training."""
        failpoint("device.training")
        self._notifier.alive()
        if self._is_stopping or self._must_reload:
            return True
        manifest = self._peek
        if manifest is self._judged:
            return False
        self._judged = manifest
        return manifest is not None and self._session.would_accept(manifest)

    def _reload(self) -> None:
        try:
            config = self._read_config()
        except ConfigError as error:
            log.error("config.refused reason=%r", str(error))  # noqa: TRY400 - the reason says it all
            return
        old, self._config = self._config, config
        logs.set_up(config.log)
        self._forget_work()
        for name in ("broker", "state", "keys", "limits", "power"):
            if getattr(old, name) != getattr(config, name):
                log.warning("config.unchanged key=%s reason=%r", name, "takes effect at the next start")
        log.info("config.reloaded")
