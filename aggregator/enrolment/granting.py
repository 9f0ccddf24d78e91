"""Issues credentials with their certificates, and keeps them. Works inside the caller's transaction."""

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from aggregator import tables as t
from aggregator.enrolment.issuing import PublicKeys, due_at_s, issue
from aggregator.enrolment.records import Grant
from aggregator.keys import AggregatorKeys
from aggregator.records import DeviceRecord
from aggregator.store import certificate_row
from fedloom.trust.documents import RENEWAL_GRACE_S, Credential, open_credential

_DEVICE = [t.devices.c[name] for name in DeviceRecord._fields]


class Granting:
    """What the registrar's keys say of devices, in one transaction."""

    def __init__(self, connection: Connection, keys: AggregatorKeys, days: int) -> None:
        self._connection = connection
        self._keys = keys
        self._days = days

    def device(self, device: bytes) -> DeviceRecord | None:
        """The device of this id."""
        return self._one(t.devices.c.id == device)

    def device_with(self, tls_key: bytes) -> DeviceRecord | None:
        """The device that has this TLS key."""
        return self._one(t.devices.c.tls_key == tls_key)

    def credential(self, device: DeviceRecord) -> Credential:
        """What the registrar last said of a device."""
        return open_credential(device.credential, self._keys.root)

    def add(self, device: bytes, name: str, keys: PublicKeys, labels: str, now_s: float) -> Grant:
        """Let a new device in, with its token's labels."""
        issued = issue(self._keys, device, name, keys, now_s, self._days)
        record = DeviceRecord(device, name, issued.credential, revoked=False, tls_key=keys.tls, labels=labels)
        self._connection.execute(insert(t.devices).values({**record._asdict(), "created_at": now_s}))
        self._connection.execute(insert(t.certificates).values(certificate_row(device, issued.certificate)))
        return Grant(record, issued.certificate, is_new=True)

    def label(self, device: DeviceRecord, labels: str) -> DeviceRecord:
        """A device has come with another token: its labels are added, and count where the key is the same."""
        known, more = (msgspec.json.decode(each, type=dict[str, str]) for each in (device.labels, labels))
        record = device._replace(labels=msgspec.json.encode(known | more).decode())
        self._connection.execute(update(t.devices).where(t.devices.c.id == device.id).values(labels=record.labels))
        return record

    def current(self, device: DeviceRecord) -> Grant:
        """What the device was given last: the same, byte for byte, until it is renewed."""
        newest = (
            select(t.certificates.c.certificate)
            .where(t.certificates.c.device == device.id)
            .order_by(t.certificates.c.not_after.desc())
            .limit(1)
        )
        return Grant(device, self._connection.execute(newest).scalar_one(), is_new=False)

    def renew_if_due(self, device: DeviceRecord, now_s: float) -> Grant:
        """The same keys for another life, or what the device has where that is not due yet."""
        credential = self.credential(device)
        if now_s < due_at_s(credential):
            return self.current(device)
        keys = PublicKeys(credential.signing, credential.seal, device.tls_key)
        issued = issue(self._keys, device.id, device.name, keys, now_s, self._days)
        record = device._replace(credential=issued.credential)
        values = {"credential": record.credential}
        self._connection.execute(update(t.devices).where(t.devices.c.id == device.id).values(values))
        expired = (t.certificates.c.device == device.id) & (t.certificates.c.not_after < int(now_s))
        self._connection.execute(delete(t.certificates).where(expired))
        self._connection.execute(insert(t.certificates).values(certificate_row(device.id, issued.certificate)))
        return Grant(record, issued.certificate, is_new=True)

    def renew(self, device: bytes, now_s: float) -> Grant | None:
        """Renew where that is due; None where it is too late, or the device was revoked."""
        record = self.device(device)
        if record is None or record.revoked or now_s > self.credential(record).not_after + RENEWAL_GRACE_S:
            return None
        return self.renew_if_due(record, now_s)

    def _one(self, where: ColumnElement[bool]) -> DeviceRecord | None:
        row = self._connection.execute(select(*_DEVICE).where(where)).first()
        return None if row is None else DeviceRecord(*row)
