"""The devices that may take part, and what each last said of itself. No I/O."""

from collections.abc import Iterable, Set
from functools import cached_property
from typing import NamedTuple, NoReturn

import msgspec

from aggregator.labels import ANY, Wanted
from aggregator.records import DeviceRecord
from fedloom.errors import Reason, Refused, TrustError
from fedloom.msgpack import decode
from fedloom.trust.documents import Credential, Root, open_credential
from fedloom.trust.seal import Recipient
from fedloom.trust.signing import VerifyingKey
from fedloom.wire import envelope
from fedloom.wire.envelope import Envelope, Header, Type
from fedloom.wire.messages import MAX_PRESENCE_BYTES, Presence
from fedloom.wire.topics import Topics

MAX_ENVELOPE_BYTES = MAX_PRESENCE_BYTES + envelope.MAX_OVERHEAD_BYTES


class Device:
    """A device as the registrar's credential describes it.

    That is verified when it is first needed: a start with thousands of devices does not wait for all signatures.
    """

    def __init__(self, record: DeviceRecord, root: Root) -> None:
        self.id = record.id
        self.name = record.name
        self.revoked = record.revoked
        self.is_wanted = True
        """Whether the job takes devices with its labels."""
        self.document = record.credential
        self._root = root

    @cached_property
    def credential(self) -> Credential:
        """What the registrar has signed.

        Raises:
            Refused: BAD_CREDENTIAL, it was not this federation's registrar.
        """
        try:
            return open_credential(self.document, self._root)
        except Refused as error:
            raise Refused(Reason.BAD_CREDENTIAL, str(error)) from None

    @cached_property
    def is_sound(self) -> bool:
        """Whether its credential is this federation's."""
        try:
            return bool(self.credential)
        except Refused:
            return False

    @cached_property
    def verifying(self) -> VerifyingKey:
        """For its signatures."""
        return VerifyingKey(self.credential.signing)

    @cached_property
    def recipient(self) -> Recipient:
        """To seal to it."""
        return Recipient(self._root.suite, self.credential.seal)


class Heard(NamedTuple):
    """The newest presence of a device."""

    incarnation: int
    sequence: int
    is_connected: bool
    not_after: int
    """Of the credential that it holds, as it says."""
    digest: bytes
    """Of the message."""


class News(NamedTuple):
    """What a presence message says."""

    device: bytes
    is_ready: bool
    """It is connected, its credential has not expired, and the job takes devices with its labels."""
    is_change: bool
    """It was not so before."""


class Fleet:
    """Devices by id, and which of them are ready. One that the job does not take is neither ready nor asleep."""

    def __init__(self, root: Root, records: Iterable[DeviceRecord], wanted: Wanted = ANY) -> None:
        """Raises TrustError: the store is another federation's, by the credentials of all its devices."""
        self._root = root
        self._wanted = wanted
        self._devices: dict[bytes, Device] = {}
        self._heard: dict[bytes, Heard] = {}
        self._ready: set[bytes] = set()
        self._sleeping: set[bytes] = set()
        self._lost: set[bytes] = set()
        self._outdated: set[bytes] = set()
        self._doubled: set[bytes] = set()
        self._unsound: set[bytes] = set()
        self._strange: set[bytes] = set()
        """Heard of, and not taken by the job."""
        self.topics = Topics(root.federation)
        self.update(records)
        if self._devices and not any(device.is_sound for device in self._devices.values()):
            raise TrustError("no device's credential is this federation's; keys and database do not belong together")

    def update(self, records: Iterable[DeviceRecord]) -> bool:
        """Take over what the store says now; returns whether there are devices that were not known before.

        Who was revoked, or has lost a label that the job requires, is no longer ready; see `refresh` for the others.
        """
        known = len(self._devices)
        for record in records:
            self.take(record)
        self._ready = {each for each in self._ready if self._may_take_part(self._devices[each])}
        self._sleeping = {each for each in self._sleeping if self._may_take_part(self._devices[each])}
        self._strange = {each for each in self._heard if not self._devices[each].is_wanted}
        return len(self._devices) > known

    def take(self, record: DeviceRecord) -> Device:
        """Take over what the store says of one device, which may be new, or have a new credential."""
        device = self._devices.get(record.id)
        if device is None or device.document != record.credential:
            device = self._devices[record.id] = Device(record, self._root)
            self._unsound.discard(record.id)
            if record.id in self._heard and not device.is_sound:
                self._forget(record.id)
        device.revoked = record.revoked
        device.is_wanted = self._wanted.admits(msgspec.json.decode(record.labels, type=dict[str, str]))
        return device

    def refresh(self, utc_s: float) -> None:
        """Judge anew who is ready: credentials expire in silence, the clock may have been put right, labels change."""
        there = (self._devices[each] for each in self.connected)
        self._ready = {
            device.id for device in there if self._may_take_part(device) and device.credential.not_after >= utc_s
        }

    def get(self, device: bytes) -> Device | None:
        return self._devices.get(device)

    @property
    def ready(self) -> Set[bytes]:
        """Devices that are connected and may take part."""
        return self._ready

    @property
    def sleeping(self) -> Set[bytes]:
        """Devices that have said that they sleep until they are wanted."""
        return self._sleeping

    @property
    def lost(self) -> Set[bytes]:
        """Devices whose last will was the last word of them."""
        return self._lost

    @property
    def connected(self) -> list[bytes]:
        """Devices that say that they are there, whether they may take part or not."""
        return [device for device, heard in self._heard.items() if heard.is_connected]

    def presence(self, device: bytes) -> Heard | None:
        """What a device last said of itself."""
        return self._heard.get(device)

    @property
    def heard(self) -> int:
        """Devices that the job takes whose presence is known, whatever it is."""
        return len(self._heard) - len(self._strange)

    def sender(self, topic: str, header: Header) -> Device:
        """Who claims to have sent a message: a device that may, on a topic of its own. The signature is not checked.

        Raises:
            Refused: WRONG_FEDERATION, WRONG_TOPIC, UNKNOWN_SENDER or REVOKED.
        """
        if header.federation != self._root.federation:
            raise Refused(Reason.WRONG_FEDERATION)
        if self.topics.device_of(topic) != header.sender:
            raise Refused(Reason.WRONG_TOPIC)
        device = self._devices.get(header.sender)
        if device is None:
            raise Refused(Reason.UNKNOWN_SENDER)
        if device.revoked:
            raise Refused(Reason.REVOKED)
        return device

    def hear(self, topic: str, blob: bytes, utc_s: float) -> News | None:
        """Take a presence message; None where that is old news. A device whose credential has expired is not ready.

        Raises:
            Refused: the message is not believed; with what to do about it the first time: OLD where a device is ready
                in an older incarnation, or is there twice, BAD_CREDENTIAL where what we have of it is damaged.
        """
        message = envelope.parse(blob, MAX_ENVELOPE_BYTES)
        header = message.header
        if header.type is not Type.PRESENCE:
            raise Refused(Reason.UNKNOWN_TYPE)
        device = self.sender(topic, header)
        if not device.is_sound:
            self._refuse_unsound(device)
        last = self._heard.get(device.id)
        if last and (header.incarnation, header.sequence) <= last[:2]:
            if header.incarnation < last.incarnation:
                self._note_outdated(device, message, last.incarnation)
            elif header.sequence == last.sequence and last.is_connected and message.digest != last.digest:
                self._note_doubled(device, message)
            return None
        presence = _believe(device, message)
        is_connected = presence.state == "ready"
        self._heard[device.id] = Heard(
            header.incarnation, header.sequence, is_connected, presence.not_after, message.digest
        )
        is_ready = is_connected and device.is_wanted and device.credential.not_after >= utc_s
        is_change = is_ready != (device.id in self._ready)
        (self._ready.add if is_ready else self._ready.discard)(device.id)
        is_asleep = presence.state == "sleeping" and device.is_wanted
        (self._sleeping.add if is_asleep else self._sleeping.discard)(device.id)
        (self._lost.add if presence.state == "lost" and device.is_wanted else self._lost.discard)(device.id)
        (self._strange.discard if device.is_wanted else self._strange.add)(device.id)
        return News(device.id, is_ready, is_change)

    def _forget(self, device: bytes) -> None:
        self._heard.pop(device, None)
        for each in (self._ready, self._sleeping, self._lost, self._strange):
            each.discard(device)

    @staticmethod
    def _may_take_part(device: Device) -> bool:
        return device.is_wanted and not device.revoked

    def _refuse_unsound(self, device: Device) -> NoReturn:
        """It stands aside alone."""
        if device.id in self._unsound:
            raise Refused(Reason.BAD_CREDENTIAL)
        self._unsound.add(device.id)
        problem = f"the credential of device {device.name!r} in the database is not this federation's"
        raise Refused(Reason.BAD_CREDENTIAL, f"{problem}, so the device is ignored; {unsound_remedy(device.name)}")

    def _note_outdated(self, device: Device, message: Envelope, newest: int) -> None:
        """A device that is ready in an older incarnation would be waited for in vain; its old will is harmless."""
        if device.id in self._outdated or _believe(device, message).state != "ready":
            return
        self._outdated.add(device.id)
        problem = f"device {device.name!r} is ready as incarnation {message.header.incarnation}, after {newest}"
        remedy = "its state was lost and its clock is behind: set the clock, delete its state directory and restart it"
        raise Refused(Reason.OLD, f"{problem}, and is ignored; {remedy}")

    def _note_doubled(self, device: Device, message: Envelope) -> None:
        """No device is ready twice under one number. One alone says its last will so, where it has none in reserve."""
        if device.id in self._doubled or _believe(device, message).state != "ready":
            return
        self._doubled.add(device.id)
        problem = (
            f"device {device.name!r} is there twice: its keys are in use on two hosts, or its state is an old copy"
        )
        remedy = f"stop one of them; if you know of one alone, revoke it: fedloom device revoke {device.name}"
        raise Refused(Reason.OLD, f"{problem}; {remedy}")


def unsound_remedy(name: str) -> str:
    """What helps a device whose credential is damaged: nobody else has a copy of what the registrar has signed."""
    return f"revoke it and let it join again with new keys: fedloom device revoke {name}, fedloom token new"


def _believe(device: Device, message: Envelope) -> Presence:
    """What a presence message says; raises Refused where it is not believed."""
    message.verify(device.verifying)
    return decode(message.clear(), Presence)
