"""Scripts of a broker that alters nothing: it loses, repeats, reorders, delays, and falls silent."""

from collections.abc import Collection, Sequence

from adversary.message import Message, Send
from adversary.proxy import Proxy, Script


class LoseSome(Script):
    """Loses a share of all deliveries."""

    def __init__(self, share: float) -> None:
        self._share = share

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        return [] if wire.rng.random() < self._share else None


class AcknowledgeAndForget(Script):
    """Acknowledges a share of what is published, and forgets it."""

    def __init__(self, share: float) -> None:
        self._share = share

    def taken(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        return [] if wire.rng.random() < self._share else None


class Lose(Script):
    """Loses all deliveries of some kinds."""

    def __init__(self, *kinds: str) -> None:
        self._kinds = kinds

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        return [] if message.kind in self._kinds else None


class Hide(Script):
    """Lets nothing through from or to some of the devices."""

    def __init__(self, hidden: Collection[str]) -> None:
        self._hidden = hidden

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        return [] if message.client in self._hidden or message.device in self._hidden else None


class LoseWayDown(Script):
    """Delivers nothing to devices any more; they still hear the broker's pings."""

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        return [] if message.client in wire.devices else None


class LoseWayUp(Script):
    """Delivers nothing to the aggregator any more."""

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        return None if message.client in wire.devices else []


class Freeze(Script):
    """Not a byte moves any more, in either direction, though all connections stand."""

    is_frozen = True


class Repeat(Script):
    """Delivers everything several times."""

    def __init__(self, times: int) -> None:
        self._times = times

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        return [Send(message)] * self._times


class Reorder(Script):
    """Keeps each delivery for a time of its own."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        return [Send(message, float(wire.rng.uniform(0.0, self._longest_s)))]


class DelayUpdates(Script):
    """Delivers updates when their round is over."""

    def __init__(self, delay_s: float, devices: Collection[str]) -> None:
        self._delay_s = delay_s
        self._devices = devices

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        is_late = message.kind == "update" and message.device in self._devices
        return [Send(message, self._delay_s)] if is_late else None


class HangUp(Script):
    """Cuts the connection of whoever a delivery is for, now and then."""

    def __init__(self, share: float) -> None:
        self._share = share

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.client not in wire.devices or wire.rng.random() >= self._share:
            return None
        wire.cut(message.client)
        return []
