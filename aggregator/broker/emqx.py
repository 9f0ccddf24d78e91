"""The profile for EMQX, 5.9 or later. Sources: EMQX's configuration manual and the specification in its acl.conf."""

from aggregator.broker.profile import (
    FRAME_PACKET_BYTES,
    MAX_CONNECTIONS,
    MAX_IN_FLIGHT,
    MAX_JOINING,
    MAX_QUEUED_MESSAGES,
    Facts,
    Profile,
)

_APPLY = """\
EMQX 5.9 or later: append emqx.conf to etc/base.hocon, and restart. A changed acl.conf is taken up by the next restart,
or at once: paste it at Access Control, Authorization, File in the dashboard, and run: emqx ctl authz cache-clean all
EMQX's check of revocation lists wants a distribution point in each certificate; those of fedloom have none. What shuts
a revoked device out is acl.conf. For each line of revoked.txt also ban the client id (dashboard, Access Control, Banned
Clients; or POST /api/v5/banned), and end its connection: emqx ctl clients kick ID"""

_CONF = """\
# EMQX >= 5.9 for fedloom, written by `fedloom broker config emqx`: do not edit, run that again.

# Only the two listeners below.
listeners.tcp.default.enable = false
listeners.ws.default.enable = false
listeners.wss.default.enable = false
listeners.ssl.default.enable = false

# Members: holders of a certificate of the federation's own authority. Its common name is user name and client id.
listeners.ssl.members {{
  bind = "0.0.0.0:{port}"
  zone = members
  max_connections = {max_connections}
  tcp_options.nodelay = true
  ssl_options {{
    cacertfile = "{at}/ca.crt"
    certfile = "{at}/broker.crt"
    keyfile = "{at}/broker.key"
    versions = ["tlsv1.3"]
    verify = verify_peer
    fail_if_no_peer_cert = true
  }}
}}
zones.members.mqtt {{
  peer_cert_as_username = cn
  peer_cert_as_clientid = cn
}}
{joining}
mqtt {{
  max_packet_size = {max_packet}
  max_topic_levels = 8
  max_inflight = {max_in_flight}
  max_mqueue_len = {max_queued}
  session_expiry_interval = 14d
  retain_available = true
  wildcard_subscription = true
}}
retainer {{
  enable = true
  max_payload_size = {max_packet}
}}
authorization {{
  no_match = deny
  deny_action = ignore
  cache.enable = true
  cache.ttl = 1m
  sources = [
    {{ type = file, enable = true, path = "{at}/acl.conf" }}
  ]
}}
"""
_JOINING = """
# Devices that join: strangers, so no certificate is asked for. All that they may do is in acl.conf.
listeners.ssl.join {{
  bind = "0.0.0.0:{join_port}"
  zone = join
  max_connections = {max_joining}
  ssl_options {{
    certfile = "{at}/broker.crt"
    keyfile = "{at}/broker.key"
    versions = ["tlsv1.3"]
    verify = verify_none
  }}
}}
zones.join.mqtt {{
  retain_available = true
  session_expiry_interval = 10m
  max_subscriptions = 4
  max_mqueue_len = 16
}}
"""
_ACL = """\
%% Who may use which topic; the first rule that fits decides. Written by `fedloom broker config emqx`.
{revoked}
%% The aggregator, by the common name of its certificate, which nobody else knows.
{{allow, {{'and', [{members}, {{username, "{aggregator}"}}]}}, subscribe,
  ["{prefix}/d/+/up", "{prefix}/d/+/state", "{prefix}/enrol/+/up", "{prefix}/all/#"]}}.
{{allow, {{'and', [{members}, {{username, "{aggregator}"}}]}}, publish,
  ["{prefix}/d/+/down", "{prefix}/enrol/+/down", "{prefix}/all/#"]}}.

%% Every device: its own topics, and what is published to all.
{{allow, {members}, publish, ["{prefix}/d/${{username}}/up", "{prefix}/d/${{username}}/state"]}}.
{{allow, {members}, subscribe, ["{prefix}/d/${{username}}/down", "{prefix}/all/#"]}}.
{joining}
{{deny, all}}.
"""
_MEMBERS = '{listener, "ssl:members"}'
_REVOKED = """
%% Revoked. Their certificates may be valid still: without this rule those below let them in.
{{deny, {{username, "{device}"}}, all, ["#"]}}.
"""
_ACL_JOINING = """
%% Devices that join. The client id is the id in a join token, which is random.
{{deny, {{listener, "ssl:join"}}, {{publish, [{{retain, true}}]}}, ["#"]}}.
{{allow, {{listener, "ssl:join"}}, publish, ["{prefix}/enrol/${{clientid}}/up"]}}.
{{allow, {{listener, "ssl:join"}}, subscribe, ["{prefix}/enrol/${{clientid}}/down", "{prefix}/all/root/+"]}}.
"""


def profile(facts: Facts) -> Profile:
    """Two listeners in zones of their own, or one if nobody is to join."""
    joining = _JOINING.format(at=facts.at, join_port=facts.join_port, max_joining=MAX_JOINING)
    conf = _CONF.format(
        at=facts.at,
        port=facts.port,
        joining=joining if facts.join_port else "",
        max_connections=MAX_CONNECTIONS,
        max_packet=FRAME_PACKET_BYTES,
        max_in_flight=MAX_IN_FLIGHT,
        max_queued=MAX_QUEUED_MESSAGES,
    )
    acl = _ACL.format(
        prefix=facts.prefix,
        aggregator=facts.aggregator,
        members=_MEMBERS,
        revoked="".join(_REVOKED.format(device=device) for device in facts.revoked),
        joining=_ACL_JOINING.format(prefix=facts.prefix) if facts.join_port else "",
    )
    revoked = "".join(f"{device}\n" for device in facts.revoked)
    return Profile({"emqx.conf": conf, "acl.conf": acl, "revoked.txt": revoked}, _APPLY)
