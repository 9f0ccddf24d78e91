"""The profile for AWS IoT Core. Source: its developer guide (policies, your own certificates) and its quotas."""

import json
from hashlib import sha256
from typing import NamedTuple

from aggregator.broker.profile import Facts, Profile

_WHERE = "arn:aws:iot:AWS_REGION:AWS_ACCOUNT"
_THING = "${iot:Connection.Thing.ThingName}"


class Limits(NamedTuple):
    """Of AWS IoT Core, where fedloom could meet them; none can be raised but the number of subscriptions."""

    policy_characters: int = 2048
    """White space does not count."""
    payload_bytes: int = 128 * 1024
    topic_slashes: int = 7
    topic_bytes: int = 256
    subscriptions: int = 50
    in_flight: int = 100
    min_keepalive_s: int = 30
    max_keepalive_s: int = 1200


LIMITS = Limits()
TOML = """\
[broker]
host = {host}
port = {port}

[broker.tls]
cert = {cert}
key = {key}

[devices]
tls = "system"
"""

_APPLY = "AWS IoT Core: the commands are in README.txt; revoked.txt names the certificates that are to be shut out"

_README = """\
fedloom on AWS IoT Core, written by `fedloom broker config aws-iot`.

AWS IoT Core verifies certificates of the federation's own authority and gives each device rights by policy. Its own
certificate is one of Amazon's, so nothing here is for the broker. Devices and aggregator use MQTT 5 on port 8883.

1. Put your region and account into the policies:
     sed -i "s/AWS_REGION/eu-west-1/; s/AWS_ACCOUNT/123456789012/" *-policy.json
2. Policies:
     aws iot create-policy --policy-name fedloom-device --policy-document file://device-policy.json
     aws iot create-policy --policy-name fedloom-aggregator --policy-document file://aggregator-policy.json
3. The aggregator: a thing whose name is its client id, and the certificate in aggregator/:
     aws iot create-thing --thing-name {aggregator}
     aws iot register-certificate-without-ca --status ACTIVE --certificate-pem file://../aggregator/aggregator.crt
     aws iot attach-policy --policy-name fedloom-aggregator --target CERTIFICATE_ARN
     aws iot attach-thing-principal --thing-name {aggregator} --principal CERTIFICATE_ARN
4. Each device: the same with its id in hex as the name of the thing, its tls.crt, and the policy fedloom-device.
   With many devices, register the authority (ca.crt) and provision just in time instead.
5. aggregator.toml, and edge.toml of each device (paths of its own):
     [broker]
     host = "YOUR-ENDPOINT-ats.iot.AWS_REGION.amazonaws.com"
     port = 8883
     [broker.tls]              # no `ca`: the system's authorities know Amazon's
     cert = "keys/tls.crt"
     key = "keys/tls.key"

Joining. AWS IoT Core has no listener for clients without a certificate, so `fedloom-edge join` cannot go through it.
Make devices with `fedloom device new`, or let them join through a Mosquitto of your own (`fedloom broker config
mosquitto`) and give them the address above afterwards. A renewed certificate has to be registered here, too.

Revoking. After `fedloom device revoke NAME` run `fedloom broker config aws-iot` again. Then, for each line of
revoked.txt:
     aws iot update-certificate --new-status REVOKED --certificate-id ID
AWS ends the connections of a revoked certificate. A policy that is only detached ends none.

Limits of AWS IoT Core, which fedloom keeps: a payload of {payload_bytes:,} bytes (a frame is at most 122,880),
{topic_slashes} slashes and {topic_bytes} bytes in a topic, {subscriptions} subscriptions a connection, {in_flight} \
unacknowledged messages each way, a
keep-alive of {min_keepalive_s} to {max_keepalive_s} s (the default of fedloom is 30 s). What was lost is sent again.
"""


def profile(facts: Facts) -> Profile:
    """Two policies, what to do with them, and which certificates are revoked."""
    readme = _README.format(aggregator=facts.aggregator, **LIMITS._asdict())
    return Profile(
        {
            "device-policy.json": _json(device_policy(facts.prefix)),
            "aggregator-policy.json": _json(aggregator_policy(facts.prefix, facts.aggregator)),
            "revoked.txt": "".join(f"{certificate_id(each)}\n" for each in facts.revoked_certificates),
            "README.txt": readme,
        },
        _APPLY,
    )


def certificate_id(certificate: bytes) -> str:
    """AWS's name of a certificate (DER): its SHA-256."""
    return sha256(certificate).hexdigest()


def device_policy(prefix: str) -> dict[str, object]:
    """What every device may do; the client id must be the thing's name, and the certificate attached to the thing."""
    own = f"{prefix}/d/{_THING}"
    attached = {"Bool": {"iot:Connection.Thing.IsAttached": "true"}}
    return _policy(
        {**_allow("Connect", f"client/{_THING}"), "Condition": attached},
        _allow("Publish", f"topic/{own}/up", f"topic/{own}/state"),
        _allow("RetainPublish", f"topic/{own}/state"),
        _allow("Subscribe", f"topicfilter/{own}/down", f"topicfilter/{prefix}/all/*"),
        _allow("Receive", f"topic/{own}/down", f"topic/{prefix}/all/*"),
    )


def aggregator_policy(prefix: str, client_id: str) -> dict[str, object]:
    """What the aggregator may do."""
    inward = ("d/+/up", "d/+/state", "enrol/+/up", "all/*")  # the last: whether there is another aggregator
    return _policy(
        _allow("Connect", f"client/{client_id}"),
        _allow("Publish", f"topic/{prefix}/d/*/down", f"topic/{prefix}/enrol/*/down", f"topic/{prefix}/all/*"),
        _allow("RetainPublish", f"topic/{prefix}/all/*"),
        _allow("Subscribe", f"topicfilter/{prefix}/all/*", *(f"topicfilter/{prefix}/{each}" for each in inward)),
        _allow("Receive", f"topic/{prefix}/all/*", *(f"topic/{prefix}/{each.replace('+', '*')}" for each in inward)),
    )


def _allow(action: str, *resources: str) -> dict[str, object]:
    return {"Effect": "Allow", "Action": f"iot:{action}", "Resource": [f"{_WHERE}:{each}" for each in resources]}


def _policy(*statements: dict[str, object]) -> dict[str, object]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _json(policy: dict[str, object]) -> str:
    return json.dumps(policy, indent=2) + "\n"
