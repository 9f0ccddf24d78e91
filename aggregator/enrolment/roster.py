"""The devices of a federation as the operator sees them: those that wait, those that are in, those that are out."""

import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, select

from aggregator import tables as t
from aggregator.enrolment.states import TokenState
from aggregator.labels import labels_text
from aggregator.store import Store
from fedloom.trust.documents import peek_credential


class DeviceEntry(msgspec.Struct, frozen=True):
    """A device in the list; times are seconds since 1970 (UTC), null where there is none yet."""

    id: str
    """Empty while it waits."""
    name: str
    state: str
    """pending, approved (it gets its answer when it asks again), joined, expired or revoked."""
    revoked: bool
    labels: dict[str, str]
    token: str
    """Id of the token that it came with; empty where it was made by `fedloom device new`."""
    joined_at: float | None = None
    credential_until: int | None = None
    certificate: str = ""
    """Serial number of the newest one, in hex."""
    certificate_until: int | None = None
    machine: str = ""
    """What a device that waits says that it is."""


def roster(store: Store, now_s: float) -> list[DeviceEntry]:
    """Devices that wait, then all others by name."""
    waiting = (
        select(t.tokens)
        .where(t.tokens.c.state.in_((TokenState.PENDING.value, TokenState.APPROVED.value)))
        .order_by(t.tokens.c.name)
    )
    members = select(t.devices).order_by(t.devices.c.name)
    certificates = select(t.certificates).order_by(t.certificates.c.not_after)
    with store.engine.connect() as connection:
        pending = [_pending(row) for row in connection.execute(waiting)]
        of_device = {row.device: row for row in connection.execute(certificates)}
        tokens = select(t.tokens).where(t.tokens.c.device.is_not(None)).order_by(t.tokens.c.created_at)
        token_of = {row.device: row for row in connection.execute(tokens)}
        rows = connection.execute(members).all()
    return pending + [_member(row, of_device.get(row.id), token_of.get(row.id), now_s) for row in rows]


def describe(entry: DeviceEntry) -> str:
    """A line for people."""
    parts = [entry.id or f"(token {entry.token})", entry.name]
    parts += [entry.state] if entry.state != "joined" else []
    parts += [f"until {_date(entry.credential_until)}"] if entry.credential_until else []
    parts += [text for text in (labels_text(entry.labels), entry.machine) if text]
    return "  ".join(parts)


def _pending(row: Row[Any]) -> DeviceEntry:
    software, machine, cpus, memory_mib = msgspec.json.decode(row.capabilities, type=tuple[str, str, int, int])
    told = f"says: {software}, {machine}, {cpus} CPUs, {memory_mib} MiB"
    shown = "".join(each if each.isprintable() else "·" for each in told)
    return DeviceEntry("", row.name, row.state, False, _labels(row), row.id.hex(), machine=shown)


def _member(row: Row[Any], certificate: Row[Any] | None, token: Row[Any] | None, now_s: float) -> DeviceEntry:
    until = peek_credential(row.credential).not_after
    return DeviceEntry(
        id=row.id.hex(),
        name=row.name,
        state="revoked" if row.revoked else "expired" if until < now_s else "joined",
        revoked=row.revoked,
        labels=_labels(row),
        token=token.id.hex() if token else "",
        joined_at=row.created_at,
        credential_until=until,
        certificate=certificate.serial if certificate else "",
        certificate_until=certificate.not_after if certificate else None,
    )


def _labels(row: Row[Any]) -> dict[str, str]:
    return msgspec.json.decode(row.labels, type=dict[str, str])


def _date(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d")
