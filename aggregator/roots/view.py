"""Shows a root document: what it says, who has signed it, who has yet to."""

import datetime
from hashlib import sha256

import msgspec

from fedloom.trust.certificates import serial_and_end
from fedloom.trust.documents import Root, peek_root, root_signers


class Quorum(msgspec.Struct, frozen=True):
    """One version's say in a document: its own, or that of the version before. Keys are hex."""

    version: int
    threshold: int
    signed: tuple[str, ...]
    missing: tuple[str, ...]


class Holder(msgspec.Struct, frozen=True):
    """The registrar, or an aggregator; hex."""

    id: str
    key: str


class Card(msgspec.Struct, frozen=True):
    """A root document for people and programs."""

    version: int
    federation: str
    suite: str
    threshold: int
    root_keys: tuple[str, ...]
    registrar: Holder
    aggregators: tuple[Holder, ...]
    ca_sha256: str
    ca_not_after: str
    """ISO 8601, UTC."""
    quorums: tuple[Quorum, ...]


def quorums(blob: bytes, before: Root | None) -> tuple[Quorum, ...]:
    """Who must sign a document: keys of its own, and of the version `before` where that is known."""
    root = peek_root(blob)
    return tuple(_quorum(blob, each) for each in (before, root) if each is not None)


def card(blob: bytes, before: Root | None) -> Card:
    """What a document says, believed or not; `before` is the version before it, where that is known."""
    root = peek_root(blob)
    registrar = root.registrar
    return Card(
        version=root.version,
        federation=root.federation.hex(),
        suite=root.suite.name.lower(),
        threshold=root.threshold,
        root_keys=tuple(each.hex() for each in root.root_keys),
        registrar=Holder(registrar.id.hex(), registrar.signing.hex()),
        aggregators=tuple(Holder(each.id.hex(), each.signing.hex()) for each in root.aggregators),
        ca_sha256=sha256(registrar.ca).hexdigest(),
        ca_not_after=_end_of(registrar.ca),
        quorums=quorums(blob, before),
    )


def describe(shown: Card) -> str:
    """Lines for people."""
    lines = [f"root version {shown.version} of federation {shown.federation} ({shown.suite})"]
    lines += [f"root keys, {shown.threshold} of {len(shown.root_keys)} must sign"]
    lines += [f"  {each}" for each in shown.root_keys]
    lines += [f"aggregator {each.id}\n  {each.key}" for each in shown.aggregators]
    lines += [f"registrar {shown.registrar.id}\n  {shown.registrar.key}"]
    lines += [f"authority of certificates, valid until {shown.ca_not_after}\n  {shown.ca_sha256}"]
    for each in shown.quorums:
        lines.append(f"signatures by keys of version {each.version}: {len(each.signed)} of {each.threshold}")
        lines += [f"  {key}  signed" for key in each.signed]
        lines += [f"  {key}  has not signed" for key in each.missing]
    return "\n".join(lines)


def _quorum(blob: bytes, root: Root) -> Quorum:
    signed = root_signers(blob, root.root_keys)
    return Quorum(
        root.version,
        root.threshold,
        tuple(key.hex() for key in root.root_keys if key in signed),
        tuple(key.hex() for key in root.root_keys if key not in signed),
    )


def _end_of(certificate: bytes) -> str:
    """Of what somebody else may have written: it is shown, not believed."""
    try:
        _, end_s = serial_and_end(certificate)
    except ValueError:
        return "unknown: not a certificate"
    return datetime.datetime.fromtimestamp(end_s, datetime.UTC).isoformat()
