"""`fedloom doctor`: what could keep the aggregator from serving its federation, and what to do about it."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from cryptography import x509
from sqlalchemy import select

from aggregator import keys as federation_keys
from aggregator import tables as t
from aggregator.config import AggregatorConfig, Loaded
from aggregator.keys import AggregatorKeys
from aggregator.own_manifest import own_manifest
from aggregator.root_set import load as load_root_set
from aggregator.state_lock import exclusive
from aggregator.store import Store, open_store
from fedloom.errors import FedloomError, StoreError
from fedloom.health import access, host
from fedloom.health.findings import Finding, from_error, guarded, ok, warn
from fedloom.health.tls import own_certificate, reach
from fedloom.job import load_job
from fedloom.link.config import Tls, tls_context
from fedloom.link.mqtt_probe import Probe
from fedloom.wire.topics import Topics

_RENEW = "run again: fedloom broker config"


def examine(loaded: Loaded) -> Iterator[Finding]:
    """Everything, a finding at a time. The MQTT part disturbs nobody: it waits for the aggregator to be stopped."""
    now_s, broker = time.time(), loaded.config.broker
    own: AggregatorKeys | None = None
    try:
        own = federation_keys.load(loaded.state)
    except (FedloomError, OSError) as error:
        yield from_error("keys", error)
    else:
        yield from guarded("state", _state(loaded.state, own, now_s))
    yield from guarded("root set", _root_set(loaded))
    if broker.tls and broker.tls.cert:
        yield from guarded("certificate", own_certificate(Path(broker.tls.cert), now_s, _RENEW))
    yield from guarded("broker", reach(broker, now_s))
    if own is not None:
        yield from guarded("access", _broker(loaded, own))


def _state(state: Path, own: AggregatorKeys, now_s: float) -> Iterator[Finding]:
    yield ok("keys", f"aggregator {own.id.hex()} of federation {own.root.federation.hex()}, root {own.root.version}")
    yield host.private("keys' privacy", state / "keys")
    yield host.private("state's privacy", state)
    with open_store(state) as store:
        yield host.clock(now_s, _newest_time(store), matters=True)
        devices = store.devices()
    yield ok("store", f"{len(devices)} devices, {sum(device.revoked for device in devices)} revoked")
    authority = x509.load_der_x509_certificate(own.root.registrar.ca)
    start, end = authority.not_valid_before_utc.timestamp(), authority.not_valid_after_utc.timestamp()
    yield host.expiry("authority", "the federation's", now_s, start, end, "make a new federation before that")
    yield host.owner(state)
    if host.is_owner(state):
        yield from host.disk(state)


def _root_set(loaded: Loaded) -> Iterator[Finding]:
    source = loaded.config.root_set
    if source is None:
        return
    job = load_job(loaded.job)
    own = load_root_set(source, job, str(loaded.job))
    if own is None:
        yield ok("root set", f"not read: {job.strategy.name!r} of {loaded.job} needs none")
    else:
        yield ok("root set", f"{source.path}: {own.samples:,} samples that fit {loaded.job}")


def _newest_time(store: Store) -> int:
    """When the newest manifest was signed; 0 if there is none."""
    newest = select(t.rounds.c.manifest).order_by(t.rounds.c.manifest_version.desc()).limit(1)
    with store.engine.connect() as connection:
        blob = connection.scalar(newest)
    if blob is None:
        return 0
    return own_manifest(blob).issued_at


def _broker(loaded: Loaded, own: AggregatorKeys) -> Iterator[Finding]:
    config, topics = loaded.config, Topics(own.root.federation)
    try:
        if host.is_owner(loaded.state):
            with exclusive(loaded.state):
                yield from _access(config, own, topics)
    except StoreError:
        seen = "not tried: a second connection of the aggregator would throw the running one off"
        yield warn("access", seen, "stop the aggregator, and run this again")
    if config.devices.join_port:
        yield from access.joining(lambda client_id: _joining(config, client_id), topics)


def _access(config: AggregatorConfig, own: AggregatorKeys, topics: Topics) -> Iterator[Finding]:
    broker = config.broker
    context = tls_context(broker.tls) if broker.tls else None

    def connect(client_id: str) -> Probe:
        return Probe(broker, client_id, context)

    with connect(own.id.hex()) as probe:
        yield from access.permits(probe.permits)
        yield from access.rights("access", probe, access.aggregator_rights(topics))
    if broker.tls and broker.tls.cert:
        anonymous = tls_context(_without_certificate(broker.tls))
        yield access.without_certificate(lambda client_id: Probe(broker, client_id, anonymous))


def _joining(config: AggregatorConfig, client_id: str) -> Probe:
    """As a device that joins connects."""
    broker = config.broker
    context = tls_context(_without_certificate(broker.tls)) if broker.tls else None
    plain = msgspec.structs.replace(broker, port=config.devices.join_port, username="", password_file="")
    return Probe(plain, client_id, context)


def _without_certificate(tls: Tls) -> Tls:
    return msgspec.structs.replace(tls, cert="", key="")
