"""The profile for Mosquitto, 2.0 or later. Source: mosquitto.conf(5)."""

from aggregator.broker.profile import (
    FRAME_PACKET_BYTES,
    MAX_CONNECTIONS,
    MAX_IN_FLIGHT,
    MAX_JOINING,
    MAX_KEEPALIVE_S,
    MAX_QUEUED_MESSAGES,
    Facts,
    Profile,
)

_APPLY = """\
A running Mosquitto takes up a changed acl, crl.pem or broker.crt with SIGHUP: systemctl reload mosquitto
Changed ports or limits need a restart."""

_CONF = """\
# Mosquitto >= 2.0 for fedloom, written by `fedloom broker config mosquitto`: do not edit, run that again.
# What fedloom sends is sealed and signed end to end. This file bounds what a stranger, or a device that was taken over,
# can cost the others: it may neither connect, nor speak for another device, nor fill the broker's memory.

per_listener_settings true

# Members: holders of a certificate of the federation's own authority. Its common name is the user name of acl, and the
# client id, so that no device can throw another off.
listener {port}
cafile {at}/ca.crt
certfile {at}/broker.crt
keyfile {at}/broker.key
crlfile {at}/crl.pem
tls_version tlsv1.3
allow_anonymous false
require_certificate true
use_identity_as_username true
use_username_as_clientid true
acl_file {at}/acl
max_connections {max_connections}
{joining}
# Without it a round over a fast network waits for delayed acknowledgements.
set_tcp_nodelay true

# A frame of fedloom is at most 120 KiB.
max_packet_size {max_packet}
max_keepalive {max_keepalive}
max_inflight_messages {max_in_flight}
# What is queued for one client that is slow or away. Beyond it the broker drops silently; fedloom then sends again.
max_queued_messages {max_queued}
max_queued_bytes 268435456
memory_limit 2147483648
persistent_client_expiration 14d

persistence true
persistence_location /var/lib/mosquitto/
autosave_interval 60

log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages true
"""
_JOINING = """
# Devices that join: strangers, so no certificate is asked for, and all that they may do is in acl-join. Leave it out
# (--join-port 0), or keep it closed at the firewall, while no device is to join.
listener {join_port}
certfile {at}/broker.crt
keyfile {at}/broker.key
tls_version tlsv1.3
allow_anonymous true
acl_file {at}/acl-join
max_connections {max_joining}
"""
_ACL = """\
# Who may use which topic on the members' listener. %u is the common name of the client's certificate: a device's id.

# Every device: its own topics, and what is published to all.
pattern write {prefix}/d/%u/up
pattern write {prefix}/d/%u/state
pattern read {prefix}/d/%u/down
pattern read {prefix}/all/#

# The aggregator, by the common name of its certificate, which nobody else knows.
user {aggregator}
topic read {prefix}/d/+/up
topic read {prefix}/d/+/state
topic read {prefix}/enrol/+/up
topic write {prefix}/d/+/down
topic write {prefix}/enrol/+/down
topic readwrite {prefix}/all/#
"""
_REVOKED = """
user {device}
topic deny #
"""
_ACL_JOIN = """\
# Who may use which topic on the listener for joining. %c is the client id: the id in a join token, which is random.
pattern write {prefix}/enrol/%c/up
pattern read {prefix}/enrol/%c/down
pattern read {prefix}/all/root/+
"""


def profile(facts: Facts) -> Profile:
    """Two listeners, or one if nobody is to join."""
    joining = _JOINING.format(at=facts.at, join_port=facts.join_port, max_joining=MAX_JOINING)
    conf = _CONF.format(
        at=facts.at,
        port=facts.port,
        joining=joining if facts.join_port else "",
        max_connections=MAX_CONNECTIONS,
        max_packet=FRAME_PACKET_BYTES,
        max_keepalive=MAX_KEEPALIVE_S,
        max_in_flight=MAX_IN_FLIGHT,
        max_queued=MAX_QUEUED_MESSAGES,
    )
    acl = _ACL.format(prefix=facts.prefix, aggregator=facts.aggregator)
    if facts.revoked:
        acl += (
            "\n# Revoked. Their certificates may be valid still: without these lines the patterns above let them in.\n"
        )
        acl += "".join(_REVOKED.format(device=device) for device in facts.revoked).lstrip("\n")
    files = {"mosquitto.conf": conf, "acl": acl}
    if facts.join_port:
        files["acl-join"] = _ACL_JOIN.format(prefix=facts.prefix)
    return Profile(files, _APPLY)
