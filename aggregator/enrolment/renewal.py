"""Renews credentials before they expire, unasked: the registrar's clock decides, a device needs none. No I/O.

A device says in its presence until when the credential lasts that it holds. It gets another when two thirds of that are
over (see `issuing.due_at_s`), or the newest again when it holds an older one: then that was lost on its way.
"""

from collections.abc import Sequence

from aggregator.enrolment.issuing import due_at_s
from aggregator.enrolment.records import Grant
from aggregator.enrolment.writer import MembershipWriter
from aggregator.events import Action, Now, Publish, Renew, Tell, Warn
from aggregator.fleet import Fleet
from aggregator.notices import DeviceRenewed
from fedloom.errors import Refused
from fedloom.trust.documents import DAY_S, RENEWAL_GRACE_S

SWEEP_S = 3600.0
"""How often the devices that stay connected are gone through; also when what may have been lost is sent again."""


class Renewal:
    """Looks at what devices say of themselves; acts once on each presence, and once a sweep."""

    def __init__(self, fleet: Fleet, writer: MembershipWriter) -> None:
        self._fleet = fleet
        self._writer = writer
        self._acted: dict[bytes, tuple[int, int]] = {}
        """Incarnation and sequence of the presence of each device that was acted on."""
        self._warned: set[bytes] = set()
        self.next_sweep_s = float("-inf")
        """On the monotonic clock."""

    def heard(self, topic: str, now: Now) -> list[Action]:
        """Something came on a device's presence topic; what was not believed there changes nothing."""
        try:
            return self._check(self._fleet.topics.device_of(topic), now)
        except Refused:
            return []

    def sweep(self, now: Now) -> list[Action]:
        """Go through all devices that are connected."""
        self._fleet.refresh(now.utc_s)
        self.next_sweep_s = now.monotonic_s + SWEEP_S
        self._acted.clear()
        return [action for device in self._fleet.connected for action in self._check(device, now)]

    def renewed(self, grants: Sequence[Grant]) -> list[Action]:
        """These credentials are on disk: tell their devices."""
        actions: list[Action] = []
        for grant in grants:
            device = self._fleet.take(grant.device)
            answer = self._writer.accepted(device.id, device.recipient, grant)
            actions.append(Publish(self._fleet.topics.down(device.id), answer))
            if grant.is_new:
                actions.append(Tell(DeviceRenewed(device.name, device.id.hex(), device.credential.not_after)))
        return actions

    def _check(self, device_id: bytes, now: Now) -> list[Action]:
        device, presence = self._fleet.get(device_id), self._fleet.presence(device_id)
        if device is None or device.revoked or presence is None or not presence.is_connected:
            return []
        credential, heard = device.credential, (presence.incarnation, presence.sequence)
        is_late = presence.not_after < credential.not_after
        if self._acted.get(device_id) == heard or not (is_late or now.utc_s >= due_at_s(credential)):
            return []
        if now.utc_s > credential.not_after + RENEWAL_GRACE_S:
            return self._warn(device_id, device.name)
        self._acted[device_id] = heard
        return [Renew(device_id, now.utc_s)]

    def _warn(self, device_id: bytes, name: str) -> list[Action]:
        if device_id in self._warned:
            return []
        self._warned.add(device_id)
        days = RENEWAL_GRACE_S // DAY_S
        problem = f"the credential of device {name!r} expired more than {days} days ago, and is not renewed any more"
        return [Warn(f"{problem}; let it join again, with a token of: fedloom token new")]
