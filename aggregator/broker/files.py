"""Writes what `fedloom broker config` promises, and only what is not right yet."""

import json
import re
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from aggregator import keys
from aggregator.broker import aws as broker_aws
from aggregator.broker import emqx as broker_emqx
from aggregator.broker import material
from aggregator.broker import mosquitto as broker_mosquitto
from aggregator.broker.profile import Facts, Profile
from aggregator.keys import AggregatorKeys
from aggregator.store import open_store
from fedloom.errors import ConfigError
from fedloom.files import make_private_directory, write_durably
from fedloom.trust.certificates import to_pem

Kind = Literal["mosquitto", "emqx", "aws-iot"]
_PROFILES = {"mosquitto": broker_mosquitto.profile, "emqx": broker_emqx.profile, "aws-iot": broker_aws.profile}
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_AT = re.compile(r"/[A-Za-z0-9._/-]*")
_AGGREGATOR_FILES = {"ca": "ca.crt", "cert": "aggregator.crt", "key": "aggregator.key"}
_TOML = """\
[broker]
host = {host}
port = {port}

[broker.tls]
ca = {ca}
cert = {cert}
key = {key}

[devices]
join_port = {join_port}
"""
_AWS_TOML = """\
[broker]
host = {host}
port = 8883

[broker.tls]
cert = {cert}
key = {key}

[devices]
tls = "system"
"""


class Wanted(NamedTuple):
    """What the operator asks for."""

    kind: Kind
    out: Path
    """Gets `broker`, for the broker's host, and `aggregator`, for the aggregator alone."""
    hosts: tuple[str, ...]
    """Names and addresses of the broker; the first one goes into configurations."""
    port: int = 8883
    join_port: int = 8884
    at: str = ""
    """Where the broker will find its files; empty: where they are written."""


class Wrote(msgspec.Struct, frozen=True):
    """What was done, and what is left to do."""

    broker: Kind
    files: list[str]
    """Those that are new or changed; the others were right."""
    revoked: int
    apply: str
    aggregator_toml: str
    """The lines that belong into the aggregator's configuration."""


def write(state: Path, wanted: Wanted) -> Wrote:
    """Write the profile of a federation, whose state directory is `state`.

    Raises:
        ConfigError: a host, a port or a path cannot be used.
        TrustError: there is no federation in `state`, or a directory is open to others.
    """
    _check(wanted)
    own, now_s = keys.load(state), time.time()
    with open_store(state) as store:
        revoked, certificates = material.revoked_devices(store), tuple(material.revoked_certificates(store, now_s))
    broker, aggregator = wanted.out.absolute() / "broker", wanted.out.absolute() / "aggregator"
    for directory in (broker, aggregator):
        make_private_directory(directory)
    changed: list[Path] = []
    name = material.aggregator_identity(
        aggregator, own.registrar.authority, changed, own.id.hex() if wanted.kind == "aws-iot" else ""
    )
    if wanted.kind != "aws-iot":  # whose own certificate is Amazon's, and which knows no lists
        material.broker_identity(broker, own.registrar.authority, wanted.hosts, changed)
        material.revocation_list(broker / "crl.pem", own.registrar.authority, certificates, changed)
    at = wanted.at.rstrip("/") or str(broker)
    facts = Facts(own.root.federation.hex(), name, revoked, certificates, at, wanted.port, wanted.join_port)
    profile = _PROFILES[wanted.kind](facts)
    _write_texts(profile, own, broker, aggregator, changed)
    toml = _AWS_TOML if wanted.kind == "aws-iot" else _TOML
    paths = {stem: json.dumps(str(aggregator / file)) for stem, file in _AGGREGATOR_FILES.items()}
    lines = toml.format(host=json.dumps(wanted.hosts[0]), port=wanted.port, join_port=wanted.join_port, **paths)
    return Wrote(wanted.kind, sorted(map(str, changed)), len(revoked), profile.apply, lines)


def _write_texts(profile: Profile, own: AggregatorKeys, broker: Path, aggregator: Path, changed: list[Path]) -> None:
    authority = to_pem(own.registrar.authority.certificate)
    texts = {broker / name: text.encode() for name, text in profile.files.items()}
    for path, text in {**texts, broker / "ca.crt": authority, aggregator / "ca.crt": authority}.items():
        if not path.exists() or path.read_bytes() != text:
            write_durably(path, text)
            changed.append(path)


def _check(wanted: Wanted) -> None:
    for host in wanted.hosts:
        if not _HOST.fullmatch(host) and not _is_address(host):
            problem = f"{host!r} is not a host name or an address"
            raise ConfigError("broker config", "--host", problem, "use letters, digits, '.' and '-', and no port")
    if wanted.port == wanted.join_port:
        problem = f"{wanted.join_port} is the members' port, too"
        raise ConfigError("broker config", "--join-port", problem, "choose another one, or 0")
    if wanted.at and not _AT.fullmatch(wanted.at):
        problem = f"{wanted.at!r} is not an absolute path of letters, digits, '.', '_' and '-'"
        raise ConfigError("broker config", "--at", problem, "name the directory on the broker's host")
    if not wanted.at and not _AT.fullmatch(str(wanted.out.absolute())):
        problem = f"{str(wanted.out)!r} cannot stand in a broker's configuration"
        raise ConfigError("broker config", "--out", problem, "use letters, digits, '.', '_' and '-', or give --at")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
