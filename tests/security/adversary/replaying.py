"""Scripts of a broker that delivers what is genuine, and old: replays, old manifests, equivocation, presence."""

from collections.abc import Collection, Sequence

from adversary.message import Message, Send
from adversary.proxy import Proxy, Script

STALE = 3
"""How many manifests back the one is that is served instead of the current one."""


class ReplayLastWeek(Script):
    """Delivers everything again that was delivered in an earlier run: each message to whom it was for then."""

    def begin(self, wire: Proxy) -> None:
        wire.send(*(Send(message) for message in wire.last_week if message.payload))


class ReplayRoundsBefore(Script):
    """Before each manifest, delivers again what this device got in earlier rounds, and what one of them sent."""

    def __init__(self) -> None:
        self._victim = ""

    def begin(self, wire: Proxy) -> None:
        self._victim = next(wire.victims)

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.kind != "manifest" or message.client not in wire.devices:
            return None
        got = [each for each in wire.remembered if each.client == message.client and each.payload][-30:-1]
        sent = [each for each in wire.remembered if each.device == message.client and each.kind == "update"]
        return [Send(each) for each in (*got, *(sent[-4:-1] if message.client == self._victim else ()), message)]


class OldManifest(Script):
    """Serves some devices an old manifest instead of the current one, at their subscription too."""

    def __init__(self, devices: Collection[str], cut: Collection[str] = ()) -> None:
        self._devices = devices
        self._cut = cut

    def begin(self, wire: Proxy) -> None:
        wire.cut(*self._cut)

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.kind != "manifest" or message.client not in self._devices:
            return None
        seen = [each for each in wire.remembered if each.client == message.client and each.kind == "manifest"]
        known = list(dict.fromkeys(each.payload for each in seen))
        return [Send(message._replace(payload=known[-min(STALE, len(known))]))]


class LastWord(Script):
    """Delivers a device's genuine last will, although the device is there."""

    def __init__(self, device: str) -> None:
        self._device = device

    def begin(self, wire: Proxy) -> None:
        will = wire.wills[self._device]
        wire.send(Send(will._replace(client=wire.aggregator, to_client=True)))


class ForgedPresence(Script):
    """Says of each device what another one has signed, and what it said itself before."""

    def begin(self, wire: Proxy) -> None:
        said = [each._replace(client=wire.aggregator, to_client=True) for each in wire.presence.values()]
        wills = [each._replace(client=wire.aggregator, to_client=True) for each in wire.wills.values() if each.device]
        for each in (*said, *wills):
            other = wire.neighbour(each.device)
            wire.send(Send(each._replace(topic=each.topic.replace(each.device, other))))
        wire.send(*(Send(each) for each in said))
