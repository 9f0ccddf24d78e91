"""`fedloom-edge doctor`: what could keep this device from taking part, and what to do about it."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge_client.config import EdgeConfig
from edge_client.outbox import STATE_REMEDY, Contents, StateDirectory
from edge_client.repair import model_problem, old_copy
from fedloom.errors import FedloomError
from fedloom.health import access, host
from fedloom.health.findings import Finding, fail, from_error, guarded, ok, warn
from fedloom.health.tls import own_certificate, reach
from fedloom.link.config import tls_context
from fedloom.link.mqtt_probe import Probe
from fedloom.trust.device_keys import DeviceKeys, is_there, load_device_keys, load_root
from fedloom.trust.documents import RENEWAL_GRACE_S
from fedloom.wire.topics import Topics

_JOIN = "join again with a new token: fedloom-edge join TOKEN"
_RENEW = "let the daemon run: it is renewed when it connects"


def examine(config: EdgeConfig) -> Iterator[Finding]:
    """Everything, a finding at a time. The MQTT part disturbs nobody: it waits for the daemon to be stopped."""
    now_s, directory = time.time(), StateDirectory(Path(config.state))
    yield from guarded("state", _state(directory, now_s, Path(config.keys)))
    keys: DeviceKeys | None = None
    try:
        keys = load_device_keys(Path(config.keys))
    except (FedloomError, OSError) as error:
        yield from_error("keys", error)
    else:
        yield from guarded("keys", _identity(config, keys, now_s))
    yield from guarded("broker", reach(config.broker, now_s))
    if keys is not None:
        yield from guarded("access", _broker(config, keys, directory))


def _wear(directory: StateDirectory, contents: Contents, keys: Path) -> Iterator[Finding]:
    """What is damaged, and what shows that the state is an old copy."""
    state = contents.state
    if state is not None and (problem := old_copy(directory, state, keys)):
        yield fail("state's age", problem, STATE_REMEDY)
    elif state is not None and is_there(keys / "root") and load_root(keys).version > state.root_version > 0:
        newer = f"version {load_root(keys).version} lies with the keys"
        seen = f"knows root version {state.root_version}, {newer}: perhaps an old copy"
        yield warn("state's age", seen, "if it was restored: fedloom-edge repair --restored")
    for each in contents.damaged:
        yield warn("outbox", each.reason, "nothing: it is set aside when the device starts")
    if problem := model_problem(directory.model):
        yield warn("model", problem, "nothing: it comes again with the end of the next job")
    if problem := model_problem(directory.personal):
        yield warn("personal model", problem, "use model.fedloom until the end of the next job; fedloom-edge repair")


def _state(directory: StateDirectory, now_s: float, keys: Path) -> Iterator[Finding]:
    if not directory.path.is_dir():
        yield host.clock(now_s, 0, matters=False)
        yield warn("state", f"{directory.path} is not there yet", "it is made when the device joins or first runs")
        return
    contents = directory.read()
    state = contents.state
    yield host.clock(now_s, state.time_floor if state else 0, matters=False)
    yield ok("state", f"manifest {state.manifest_version}" if state else "nothing was accepted yet")
    yield from _wear(directory, contents, keys)
    yield host.private("state's privacy", directory.path)
    yield host.owner(directory.path)
    if host.is_owner(directory.path):
        yield from host.disk(directory.path)


def _identity(config: EdgeConfig, keys: DeviceKeys, now_s: float) -> Iterator[Finding]:
    credential = keys.credential
    yield ok("keys", f"device {keys.id.hex()} ({credential.name}) of federation {keys.root.federation.hex()}")
    yield host.private("keys' privacy", Path(config.keys))
    late = now_s > credential.not_after + RENEWAL_GRACE_S
    do = _JOIN if late else _RENEW
    found = host.expiry("credential", "it", now_s, credential.not_before, credential.not_after, do)
    # By this host's clock, which may be wrong, and within its grace it is renewed without a word.
    yield found if late or not found.do else warn(found.check, found.seen, found.do)
    tls = config.broker.tls
    if tls is not None and tls.cert:
        yield from guarded("certificate", own_certificate(Path(tls.cert), now_s, _JOIN))


def _broker(config: EdgeConfig, keys: DeviceKeys, directory: StateDirectory) -> Iterator[Finding]:
    if directory.path.is_dir():
        if directory.is_held():
            seen = "not tried: a second connection of this device would throw the running daemon off"
            yield warn("access", seen, "stop fedloom-edge, and run this again")
            return
        if not host.is_owner(directory.path):
            return
        directory.hold()
    try:
        yield from _access(config, keys)
    finally:
        directory.release()


def _access(config: EdgeConfig, keys: DeviceKeys) -> Iterator[Finding]:
    broker, topics = config.broker, Topics(keys.root.federation)
    context = tls_context(broker.tls) if broker.tls else None

    def connect(client_id: str) -> Probe:
        return Probe(broker, client_id, context)

    with connect(keys.id.hex()) as probe:
        yield from access.permits(probe.permits)
        yield from access.rights("access", probe, access.device_rights(topics, keys.id))
    yield access.another_id(connect, topics)
    if broker.tls and broker.tls.cert:
        anonymous = tls_context(msgspec.structs.replace(broker.tls, cert="", key=""))
        # A broker that goes by passwords lets in whoever has one: ours stays out of it.
        nobody = msgspec.structs.replace(broker, username="", password_file="")
        yield access.without_certificate(lambda client_id: Probe(nobody, client_id, anonymous))
