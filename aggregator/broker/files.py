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
from aggregator.broker.profile import JOIN_PORT, PORT, Facts, Profile, Software
from aggregator.keys import AggregatorKeys
from aggregator.store import open_store
from fedloom.errors import ConfigError
from fedloom.files import make_private_directory, write_durably
from fedloom.trust.certificates import to_pem

Kind = Literal["mosquitto", "emqx", "aws-iot"]
_SOFTWARE = {
    "mosquitto": Software(broker_mosquitto.profile),
    "emqx": Software(broker_emqx.profile),
    "aws-iot": Software(broker_aws.profile, broker_aws.TOML, is_hosted=True),
}
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")
_AT = re.compile(r"/[A-Za-z0-9._/-]*")
_AGGREGATOR_FILES = {"ca": "ca.crt", "cert": "aggregator.crt", "key": "aggregator.key"}


class Wanted(NamedTuple):
    """What the operator asks for."""

    kind: Kind
    out: Path
    """Gets `broker`, for the broker's host, and `aggregator`, for the aggregator alone."""
    hosts: tuple[str, ...]
    """Names and addresses of the broker; the first one goes into configurations."""
    port: int | None = None
    """None, here and below: the default."""
    join_port: int | None = None
    at: str | None = None
    """Where the broker will find its files; by default where they are written."""


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
    software = _SOFTWARE[wanted.kind]
    _check(wanted, software)
    own, now_s = keys.load(state), time.time()
    with open_store(state) as store:
        revoked, certificates = material.revoked_devices(store), tuple(material.revoked_certificates(store, now_s))
    broker, aggregator = wanted.out.absolute() / "broker", wanted.out.absolute() / "aggregator"
    for directory in (broker, aggregator):
        make_private_directory(directory)
    authority = own.registrar.authority
    name, changed = material.aggregator_identity(aggregator, authority, own.id.hex() if software.is_hosted else "")
    if not software.is_hosted:
        changed += material.broker_identity(broker, authority, wanted.hosts)
        changed += material.revocation_list(broker / "crl.pem", authority, certificates)
    at = str(broker) if wanted.at is None else wanted.at.rstrip("/")
    port, join_port = _ports(wanted)
    facts = Facts(own.root.federation.hex(), name, revoked, certificates, at, port, join_port)
    profile = software.profile(facts)
    changed += _write_texts(profile, own, broker, aggregator)
    paths = {stem: json.dumps(str(aggregator / file)) for stem, file in _AGGREGATOR_FILES.items()}
    host = json.dumps(wanted.hosts[0])
    lines = software.aggregator_toml.format(host=host, port=port, join_port=join_port, **paths)
    return Wrote(wanted.kind, sorted(map(str, changed)), len(revoked), profile.apply, lines)


def _ports(wanted: Wanted) -> tuple[int, int]:
    """For members, and for devices that join."""
    return (
        PORT if wanted.port is None else wanted.port,
        JOIN_PORT if wanted.join_port is None else wanted.join_port,
    )


def _write_texts(profile: Profile, own: AggregatorKeys, broker: Path, aggregator: Path) -> list[Path]:
    changed = []
    authority = to_pem(own.registrar.authority.certificate)
    texts = {broker / name: text.encode() for name, text in profile.files.items()}
    for path, text in {**texts, broker / "ca.crt": authority, aggregator / "ca.crt": authority}.items():
        if not path.exists() or path.read_bytes() != text:
            write_durably(path, text)
            changed.append(path)
    return changed


def _check(wanted: Wanted, software: Software) -> None:
    for host in wanted.hosts:
        if not _HOST.fullmatch(host) and not _is_address(host):
            problem = f"{host!r} is not a host name or an address"
            raise ConfigError("broker config", "--host", problem, "use letters, digits, '.' and '-', and no port")
    port, join_port = _ports(wanted)
    if port == join_port:
        problem = f"{join_port} is the members' port, too"
        raise ConfigError("broker config", "--join-port", problem, "choose another one, or 0")
    if software.is_hosted:
        _check_hosted(wanted)
    else:
        _check_paths(wanted)


def _check_hosted(wanted: Wanted) -> None:
    for option, value in (("--port", wanted.port), ("--join-port", wanted.join_port), ("--at", wanted.at)):
        if value is not None:
            problem = f"{value!r} cannot be chosen for {wanted.kind}"
            raise ConfigError("broker config", option, problem, "leave it out; README.txt, which it writes, tells more")


def _check_paths(wanted: Wanted) -> None:
    if wanted.at is not None and not _AT.fullmatch(wanted.at):
        problem = f"{wanted.at!r} is not an absolute path of letters, digits, '.', '_' and '-'"
        raise ConfigError("broker config", "--at", problem, "name the directory on the broker's host")
    if wanted.at is None and not _AT.fullmatch(str(wanted.out.absolute())):
        problem = f"{str(wanted.out)!r} cannot stand in a broker's configuration"
        raise ConfigError("broker config", "--out", problem, "use letters, digits, '.', '_' and '-', or give --at")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
