"""The profiles for EMQX and AWS IoT Core: their documented syntax, their limits, and that they permit what is right.

Neither broker runs here. Their access lists are read and judged by small evaluators of the documented rules.
"""

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aggregator.broker import aws as broker_aws
from aggregator.broker import emqx as broker_emqx
from aggregator.broker.profile import Facts
from fedloom.link.base import matches
from fedloom.link.config import MqttConfig
from fedloom.wire.chunks import MAX_FRAME
from fedloom.wire.topics import Topics

FEDERATION = bytes(range(16))
TOPICS = Topics(FEDERATION)
A, B, GONE, TOKEN = (bytes([number]) * 16 for number in (0xAA, 0xBB, 0xCC, 0x70))
HUB = "aggregator-0123"
CERTIFICATE = b"a certificate"
FACTS = Facts(FEDERATION.hex(), HUB, (GONE.hex(),), (CERTIFICATE,), "/opt/emqx/etc/fedloom", 8883, 8884)


class Act(NamedTuple):
    """Somebody wants something."""

    who: str
    do: str
    """publish, retain (publish a retained message) or subscribe."""
    topic: str


ALLOWED = [
    *(Act(A.hex(), do, topic) for do, topic in (("publish", TOPICS.up(A)), ("retain", TOPICS.state(A)))),
    *(Act(A.hex(), "subscribe", topic) for topic in (TOPICS.down(A), TOPICS.manifest, TOPICS.all_roots)),
    Act(A.hex(), "subscribe", TOPICS.chunk(bytes(32), 0)),
    *(Act(HUB, "publish", topic) for topic in (TOPICS.down(A), TOPICS.enrol_down(TOKEN))),
    *(Act(HUB, "retain", topic) for topic in (TOPICS.manifest, TOPICS.root(1), TOPICS.chunk(bytes(32), 4))),
    *(Act(HUB, "subscribe", topic) for topic in (TOPICS.all_up, TOPICS.all_states, TOPICS.all_enrol_up)),
    *(Act(HUB, "subscribe", topic) for topic in (TOPICS.manifest, TOPICS.root(2))),
]
DENIED = [
    *(Act(A.hex(), "publish", topic) for topic in (TOPICS.up(B), TOPICS.state(B), TOPICS.down(A), TOPICS.manifest)),
    *(Act(A.hex(), "publish", topic) for topic in (TOPICS.root(2), TOPICS.enrol_up(A), "x")),
    *(Act(A.hex(), "retain", topic) for topic in (TOPICS.state(B), TOPICS.manifest)),
    *(Act(A.hex(), "subscribe", topic) for topic in (TOPICS.down(B), TOPICS.up(A), TOPICS.all_up, TOPICS.all_states)),
    *(
        Act(A.hex(), "subscribe", topic)
        for topic in ("#", "fedloom/#", f"fedloom/{FEDERATION.hex()}/#", "+/+/d/+/down")
    ),
    Act(A.hex(), "subscribe", Topics(bytes(16)).down(A)),
    Act(HUB, "publish", TOPICS.up(A)),
    Act(HUB, "subscribe", TOPICS.down(A)),
]
EMQX_DENIED = [
    *(Act(GONE.hex(), "publish", topic) for topic in (TOPICS.up(GONE), TOPICS.state(GONE))),
    *(Act(GONE.hex(), "subscribe", topic) for topic in (TOPICS.down(GONE), TOPICS.manifest)),
]
JOINING_ALLOWED = [
    Act(TOKEN.hex(), "publish", TOPICS.enrol_up(TOKEN)),
    Act(TOKEN.hex(), "subscribe", TOPICS.enrol_down(TOKEN)),
    Act(TOKEN.hex(), "subscribe", TOPICS.all_roots),
]
JOINING_DENIED = [
    Act(TOKEN.hex(), "retain", TOPICS.enrol_up(TOKEN)),
    Act(TOKEN.hex(), "publish", TOPICS.enrol_up(A)),
    Act(TOKEN.hex(), "publish", TOPICS.enrol_down(TOKEN)),
    *(
        Act(TOKEN.hex(), "subscribe", each)
        for each in (TOPICS.all_enrol_up, TOPICS.manifest, "#", TOPICS.enrol_down(A))
    ),
    # Under the name and client id of a member, which strangers may choose here:
    *(Act(A.hex(), do, topic) for do, topic in (("publish", TOPICS.up(A)), ("subscribe", TOPICS.down(A)))),
    *(Act(HUB, do, topic) for do, topic in (("retain", TOPICS.manifest), ("subscribe", TOPICS.all_up))),
]


# EMQX


_TERM = re.compile(r"""\s*(?:%[^\n]*\s*)*("[^"]*"|'[a-z]+'|[a-z_]+|\d+|[{}\[\],.])""")


def read_terms(text: str) -> list[Any]:
    """Erlang terms, each ended by a full stop: tuples as tuples, lists as lists, atoms and strings as strings."""
    tokens, at = [], 0
    while text[at:].strip():
        match = _TERM.match(text, at)
        assert match, f"not Erlang: {text[at : at + 40]!r}"
        tokens.append(match[1])
        at = match.end()
    terms = []
    while tokens:
        terms.append(_term(tokens))
        assert tokens.pop(0) == "."
    return terms


def _term(tokens: list[str]) -> Any:
    token = tokens.pop(0)
    if token not in "{[":
        assert token not in "}],."
        return token
    end, items = {"{": "}", "[": "]"}[token], []
    while tokens[0] != end:
        items.append(_term(tokens))
        if tokens[0] == ",":
            tokens.pop(0)
            assert tokens[0] != end
    tokens.pop(0)
    return tuple(items) if token == "{" else items


RULES = read_terms(broker_emqx.profile(FACTS).files["acl.conf"])


def emqx_permits(act: Act, listener: str) -> bool:
    """The first rule that fits decides. Source: the specification in EMQX's acl.conf."""
    for permission, *rest in RULES:
        if rest == ["all"] or _fits(act, listener, *rest):
            return bool(permission == "allow")
    pytest.fail("no rule fits")


def _fits(act: Act, listener: str, who: Any, action: Any, topics: list[str]) -> bool:
    if not _is(act, listener, who):
        return False
    if isinstance(action, tuple):
        action, ((option, value),) = action
        assert (option, value) == ("retain", "true")
        if act.do != "retain":
            return False
    if action != "all" and (action == "subscribe") != (act.do == "subscribe"):
        return False
    filled = [each.strip('"').replace("${username}", act.who).replace("${clientid}", act.who) for each in topics]
    return any(_subscription_within(each, act.topic) for each in filled)


def _is(act: Act, listener: str, who: Any) -> bool:
    if who == "all":
        return True
    if who[0] == "'and'":
        return all(_is(act, listener, each) for each in who[1])
    kind, value = who
    assert kind in ("listener", "username"), "not in the specification"
    return bool(value.strip('"') == {"listener": listener, "username": act.who}[kind])


def _subscription_within(rule: str, topic: str) -> bool:
    """Whether a rule covers all that a topic or a filter covers: `+` is within `+` and `#`, `#` within `#` alone."""
    if topic.endswith("#") and not (rule.endswith("#") and matches(rule, topic[:-1] + "x")):
        return False
    return matches(rule, topic)


@pytest.mark.parametrize("act", ALLOWED)
def test_emqx_permits_members_what_they_need(act: Act) -> None:
    assert emqx_permits(act, "ssl:members")


@pytest.mark.parametrize("act", DENIED + EMQX_DENIED)
def test_emqx_denies_members_all_else(act: Act) -> None:
    assert not emqx_permits(act, "ssl:members")


@pytest.mark.parametrize("act", JOINING_ALLOWED)
def test_emqx_lets_strangers_join(act: Act) -> None:
    assert emqx_permits(act, "ssl:join")


@pytest.mark.parametrize("act", JOINING_DENIED)
def test_emqx_denies_strangers_all_else(act: Act) -> None:
    assert not emqx_permits(act, "ssl:join")


def test_emqx_rules_have_the_documented_shape() -> None:
    assert RULES[-1] == ("deny", "all")
    for permission, *rest in RULES[:-1]:
        assert permission in ("allow", "deny")
        assert len(rest) == 3
        assert rest[1] in ("publish", "subscribe", "all", ("publish", [("retain", "true")]))
        assert all(re.fullmatch(r'"[a-z0-9/+#${}.]+"', topic) for topic in rest[2])


LISTENER_KEYS = {"bind", "zone", "max_connections", "tcp_options", "ssl_options", "enable"}
SSL_KEYS = {"cacertfile", "certfile", "keyfile", "versions", "verify", "fail_if_no_peer_cert"}
MQTT_KEYS = {
    "max_packet_size",
    "max_topic_levels",
    "max_inflight",
    "max_mqueue_len",
    "max_subscriptions",
    "session_expiry_interval",
    "retain_available",
    "wildcard_subscription",
    "peer_cert_as_username",
    "peer_cert_as_clientid",
}
"""Of EMQX's configuration manual (hocon), version 5.9."""


def read_hocon(text: str) -> dict[str, Any]:
    """The part of HOCON that the profile uses: `a.b = value`, `a.b { … }`, strings, words, numbers and lists."""
    lines = [line.split(" # ")[0].strip() for line in text.splitlines()]
    tree, stack = dict[str, Any](), list[dict[str, Any]]()
    node, listing = tree, list[str]()
    for line in lines:
        if listing or line.endswith("["):
            listing.append(line)
            if line == "]":
                key, value = " ".join(listing).split(" = ", 1)
                _put(node, key, value)
                listing = []
        elif not line or line.startswith("#"):
            continue
        elif line.endswith("{"):
            stack.append(node)
            node = _put(node, line[:-1].strip(), {})
        elif line == "}":
            node = stack.pop()
        else:
            key, value = line.split(" = ", 1)
            _put(node, key, json.loads(value) if value[0] in '"[' else value)
    assert not stack
    assert not listing
    return tree


def _put(node: dict[str, Any], path: str, value: Any) -> Any:
    *parents, last = path.split(".")
    for parent in parents:
        node = node.setdefault(parent, {})
    assert last not in node, f"{path} is said twice"
    node[last] = value
    return value


def test_emqx_configuration_has_documented_keys_and_safe_values() -> None:
    conf = read_hocon(broker_emqx.profile(FACTS).files["emqx.conf"])
    assert set(conf) == {"listeners", "zones", "mqtt", "retainer", "authorization"}
    ssl = conf["listeners"]["ssl"]
    enabled = {(kind, name) for kind, all_ in conf["listeners"].items() for name in all_ if name != "default"}
    assert enabled == {("ssl", "members"), ("ssl", "join")}
    for kind in ("tcp", "ssl", "ws", "wss"):
        assert conf["listeners"][kind]["default"] == {"enable": "false"}
    for name in ("members", "join"):
        assert set(ssl[name]) <= LISTENER_KEYS
        assert set(ssl[name]["ssl_options"]) <= SSL_KEYS
        assert ssl[name]["ssl_options"]["versions"] == ["tlsv1.3"]
        assert set(conf["zones"][ssl[name]["zone"]]["mqtt"]) <= MQTT_KEYS
    assert ssl["members"]["ssl_options"]["verify"] == "verify_peer"
    assert ssl["members"]["ssl_options"]["fail_if_no_peer_cert"] == "true"
    assert conf["zones"]["members"]["mqtt"] == {"peer_cert_as_username": "cn", "peer_cert_as_clientid": "cn"}
    assert set(conf["mqtt"]) <= MQTT_KEYS
    assert MAX_FRAME + 256 <= int(conf["mqtt"]["max_packet_size"]) <= 2**20
    assert int(conf["mqtt"]["max_topic_levels"]) >= longest_topic().count("/") + 1
    assert conf["authorization"]["no_match"] == "deny"
    assert 'path = "/opt/emqx/etc/fedloom/acl.conf"' in conf["authorization"]["sources"]


def test_emqx_without_joining_has_one_listener_and_no_rule_for_strangers() -> None:
    files = broker_emqx.profile(FACTS._replace(join_port=0)).files
    assert "join" not in read_hocon(files["emqx.conf"])["listeners"]["ssl"]
    assert "ssl:join" not in files["acl.conf"]


def test_emqx_is_told_whom_to_ban() -> None:
    assert broker_emqx.profile(FACTS).files["revoked.txt"] == f"{GONE.hex()}\n"


# AWS IoT Core


def longest_topic() -> str:
    return TOPICS.chunk(bytes(32), 999_999)


def aws_permits(act: Act) -> bool:
    """Nothing is permitted but what a statement allows. `*` stands for any characters; MQTT's wildcards are plain ones.

    Source: AWS IoT Core developer guide, "AWS IoT Core policies" and "action resources".
    """
    files = broker_aws.profile(FACTS).files
    policy = json.loads(files["aggregator-policy.json" if act.who == HUB else "device-policy.json"])
    if act.do == "subscribe":
        return _allowed(policy, act, "iot:Subscribe", "topicfilter")
    publishes = _allowed(policy, act, "iot:Publish", "topic")
    return publishes and (act.do != "retain" or _allowed(policy, act, "iot:RetainPublish", "topic"))


def _allowed(policy: Any, act: Act, action: str, kind: str) -> bool:
    wanted = f"arn:aws:iot:AWS_REGION:AWS_ACCOUNT:{kind}/{act.topic}"
    for statement in policy["Statement"]:
        for resource in statement["Resource"] if statement["Action"] == action else ():
            pattern = resource.replace("${iot:Connection.Thing.ThingName}", act.who).replace("[", "[[]")
            if fnmatchcase(wanted, pattern):
                return True
    return False


@pytest.mark.parametrize("act", ALLOWED)
def test_aws_permits_what_is_needed(act: Act) -> None:
    assert aws_permits(act)


@pytest.mark.parametrize("act", DENIED)
def test_aws_denies_all_else(act: Act) -> None:
    assert not aws_permits(act)


@pytest.mark.parametrize("name", ["device-policy.json", "aggregator-policy.json"])
def test_aws_policies_are_within_the_limit(name: str) -> None:
    text = broker_aws.profile(FACTS).files[name]
    policy = json.loads(text.replace("AWS_REGION", "ap-southeast-2").replace("AWS_ACCOUNT", "123456789012"))
    assert len(re.sub(r"\s", "", json.dumps(policy))) <= broker_aws.LIMITS.policy_characters
    assert policy["Version"] == "2012-10-17"
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        assert statement["Action"] in {
            f"iot:{each}" for each in ("Connect", "Publish", "RetainPublish", "Subscribe", "Receive")
        }
        for resource in statement["Resource"]:
            kind = {"iot:Connect": "client", "iot:Subscribe": "topicfilter"}.get(statement["Action"], "topic")
            assert resource.startswith(f"arn:aws:iot:ap-southeast-2:123456789012:{kind}/")


def test_aws_ties_a_devices_client_id_to_its_certificate() -> None:
    policy = json.loads(broker_aws.profile(FACTS).files["device-policy.json"])
    (connect,) = [each for each in policy["Statement"] if each["Action"] == "iot:Connect"]
    assert connect["Resource"] == ["arn:aws:iot:AWS_REGION:AWS_ACCOUNT:client/${iot:Connection.Thing.ThingName}"]
    assert connect["Condition"] == {"Bool": {"iot:Connection.Thing.IsAttached": "true"}}


@pytest.mark.parametrize("act", [each for each in ALLOWED if each.do == "subscribe"])
def test_aws_delivers_what_it_lets_subscribe_to(act: Act) -> None:
    """Receive is a right of its own."""
    files = broker_aws.profile(FACTS).files
    policy = json.loads(files["aggregator-policy.json" if act.who == HUB else "device-policy.json"])
    assert _allowed(policy, act._replace(topic=act.topic.replace("+", "0f")), "iot:Receive", "topic")


def test_fedloom_is_within_awss_limits() -> None:
    limits = broker_aws.LIMITS
    topics = [each.topic for each in ALLOWED + DENIED] + [longest_topic()]
    assert max(topic.count("/") for topic in topics) <= limits.topic_slashes
    assert max(len(topic.encode()) for topic in topics) <= limits.topic_bytes
    assert limits.payload_bytes >= MAX_FRAME
    assert limits.min_keepalive_s <= MqttConfig(host="x").keepalive_s <= limits.max_keepalive_s


def test_aws_is_told_which_certificates_are_revoked() -> None:
    files = broker_aws.profile(FACTS).files
    assert files["revoked.txt"] == f"{broker_aws.certificate_id(CERTIFICATE)}\n"
    assert re.fullmatch(r"[0-9a-f]{64}\n", files["revoked.txt"])


def test_the_readme_is_about_this_federation(tmp_path: Path) -> None:
    readme = broker_aws.profile(FACTS).files["README.txt"]
    assert f"--thing-name {HUB}" in readme
    assert "131,072 bytes" in readme
    assert "{" not in readme
