"""What a broker permits: its limits, what it must let through, and what it must not.

What is sent is no message of fedloom, is for a device that does not exist or for ourselves, and is never retained:
where a broker lets it through, no receiver believes it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from fedloom.errors import FedloomError
from fedloom.health.findings import Finding, fail, from_error, ok, warn
from fedloom.link.base import Limits, matches
from fedloom.link.mqtt_probe import Permits, Probe, Verdict
from fedloom.wire.chunks import MAX_FRAME
from fedloom.wire.topics import Topics

PAYLOAD = b"fedloom doctor: not a message"
_TOPIC_BYTES = 128
"""No topic is longer: that of a model's chunk has 121 at most."""
QUIET_S = 1.0
"""How long to wait for what must not come."""
_ACL = "run again: fedloom broker config, and install what it writes; see docs/broker.md"

Connect = Callable[[str], Probe]
"""Opens a connection under a client id."""


class Rights(NamedTuple):
    """What somebody may do at the broker, and, of all else, what is tried."""

    sends: Sequence[str]
    receives: Sequence[str]
    """Filters."""
    must_not_send: Sequence[str]
    must_not_receive: Sequence[str]
    """Filters; together with `sends` they would make us hear ourselves."""


def device_rights(topics: Topics, device: bytes) -> Rights:
    """Of a device."""
    other = os.urandom(16)
    up, state, down = topics.up(device), topics.state(device), topics.down(device)
    return Rights(
        sends=(up, state),
        receives=(down, f"{topics.manifest.rpartition('/')[0]}/#"),
        must_not_send=(topics.up(other), topics.state(other), topics.manifest, topics.root(0), down),
        must_not_receive=(up, topics.all_up, topics.all_states, topics.all_enrol_up),
    )


def aggregator_rights(topics: Topics) -> Rights:
    """Of the aggregator."""
    other = os.urandom(16)
    return Rights(
        sends=(topics.down(other), topics.enrol_down(other), topics.chunk(os.urandom(32), 0)),
        receives=(topics.all_up, topics.all_states, topics.all_enrol_up, topics.manifest),
        must_not_send=(topics.up(other), topics.state(other)),
        must_not_receive=(),
    )


def joining_rights(topics: Topics, token: bytes) -> Rights:
    """Of a device that joins."""
    other = os.urandom(16)
    return Rights(
        sends=(topics.enrol_up(token),),
        receives=(topics.enrol_down(token), topics.all_roots),
        must_not_send=(topics.enrol_up(other), topics.up(other), topics.manifest, topics.root(0)),
        must_not_receive=(topics.enrol_up(token), topics.manifest, topics.all_states, topics.all_up),
    )


def permits(said: Permits) -> Iterator[Finding]:
    """The broker's limits."""
    if said.protocol == 5:
        yield ok("MQTT", "version 5")
    else:
        yield warn("MQTT", "version 3.1.1: the broker does not say what it denies", "use a broker with MQTT 5")
    around = MAX_FRAME - Limits(MAX_FRAME).max_payload_bytes("x" * _TOPIC_BYTES)
    needed = MAX_FRAME + around
    seen = f"packets of {said.max_packet_bytes:,} bytes, {said.receive_maximum} unacknowledged"
    if said.max_packet_bytes < needed:
        yield fail("limits", seen, f"let the broker take packets of {needed:,} bytes or more")
    elif said.receive_maximum < 8:
        yield warn("limits", seen, "let the broker take 8 or more unacknowledged messages: it is slow like this")
    else:
        yield ok("limits", seen)
    lacks = [
        what
        for what, has in (("QoS 1", said.maximum_qos > 0), ("retain", said.retain), ("wildcards", said.wildcards))
        if not has
    ]
    if lacks:
        yield fail("features", f"the broker does without {' and '.join(lacks)}", "switch that on at the broker")
    else:
        yield ok("features", "QoS 1, retained messages and wildcards")


def rights(check: str, probe: Probe, wanted: Rights) -> Iterator[Finding]:
    """What is permitted, and what is not, on a connection that stands."""
    denied = [each for each in wanted.receives if not probe.subscribe(each)]
    denied += [each for each in wanted.sends if probe.publish(each, PAYLOAD) is Verdict.DENIED]
    if denied:
        yield fail(f"{check}: allowed", f"the broker denies {', '.join(denied)}", f"not revoked? {_ACL}")
    else:
        yield ok(f"{check}: allowed", f"{len(wanted.sends)} topics to send on, {len(wanted.receives)} to receive")
    yield _sending(check, probe, wanted.must_not_send)
    if wanted.must_not_receive:
        yield _receiving(check, probe, wanted)


def _sending(check: str, probe: Probe, topics: Sequence[str]) -> Finding:
    verdicts = {topic: probe.publish(topic, PAYLOAD) for topic in topics}
    taken = [topic for topic, verdict in verdicts.items() if verdict is Verdict.TAKEN]
    if taken:
        return fail(f"{check}: denied", f"the broker takes messages on {', '.join(taken)}", _ACL)
    if Verdict.UNKNOWN in verdicts.values():
        seen = "the broker does not say what it denies, as with MQTT 3.1.1"
        return warn(f"{check}: denied", seen, "try with a broker that has MQTT 5")
    return ok(f"{check}: denied", f"{len(topics)} topics that are others' to send on")


def _receiving(check: str, probe: Probe, wanted: Rights) -> Finding:
    for each in wanted.must_not_receive:
        probe.subscribe(each)
    for topic in wanted.sends:
        probe.publish(topic, PAYLOAD)
    probe.listen(QUIET_S)
    leaked = sorted(topic for topic in probe.heard if not any(matches(each, topic) for each in wanted.receives))
    if leaked:
        return fail(f"{check}: not readable", f"the broker delivers {', '.join(leaked[:4])}", _ACL)
    return ok(f"{check}: not readable", f"nothing came of {len(wanted.must_not_receive)} filters that are others'")


def another_id(connect: Connect, topics: Topics) -> Finding:
    """That a client id that is not ours gives no rights."""
    other = os.urandom(16)
    check = "access: under another client id"
    try:
        with connect(other.hex()) as probe:
            verdict = probe.publish(topics.up(other), PAYLOAD)
    except FedloomError:
        return ok(check, "the broker does not let it in")
    if verdict is Verdict.TAKEN:
        return fail(check, "the broker lets us speak for another device", f"tie client ids to certificates: {_ACL}")
    if verdict is Verdict.UNKNOWN:
        return warn(check, "the broker does not say, as with MQTT 3.1.1", "try with a broker that has MQTT 5")
    return ok(check, "it gives no rights")


def without_certificate(connect: Connect) -> Finding:
    """That members need a certificate."""
    check = "access: without a certificate"
    try:
        connect(os.urandom(16).hex()).close()
    except FedloomError:
        return ok(check, "the broker does not let it in")
    return fail(check, "the broker lets anybody in", f"ask for certificates: {_ACL}")


def joining(connect: Connect, topics: Topics) -> Iterator[Finding]:
    """The listener for devices that join."""
    token = os.urandom(16)
    try:
        probe = connect(token.hex())
    except FedloomError as error:
        yield from_error("joining", error)
        return
    with probe:
        yield from rights("joining", probe, joining_rights(topics, token))
