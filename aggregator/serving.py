"""Connects an aggregator that is put together to its broker."""

from collections.abc import Callable

from aggregator.config import Loaded
from aggregator.events import Settle
from aggregator.notices import AnyNotice
from aggregator.present import PresenceNote
from aggregator.service import Service
from aggregator.startup import Parts
from fedloom.link.mqtt import MqttLink


def service_for(
    parts: Parts,
    loaded: Loaded,
    tell: Callable[[AnyNotice], None],
    *,
    exit_when_done: bool,
    settle: Callable[[Settle], None] = lambda _: None,
) -> Service:
    """A service at the configured broker, ready to run; whoever runs it closes `parts.archive` afterwards."""
    broker = loaded.config.broker
    return Service(
        parts.core,
        parts.archive,
        parts.gate,
        parts.fleet.topics,
        lambda on_event: MqttLink(broker, parts.client_id, on_event),
        tell,
        broker=f"{broker.host}:{broker.port}",
        exit_when_done=exit_when_done,
        housekeeping=PresenceNote(loaded.state, parts.fleet).update,
        settle=settle,
    )
