"""TLS material for a broker and for the aggregator's own connection, from the registrar's authority."""

import datetime
import os
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from aggregator import tables as t
from aggregator.store import Store
from fedloom.errors import Refused
from fedloom.files import read_private, write_durably
from fedloom.trust.certificates import SKEW_S, Authority, check_certificate, new_key, public_key_of, to_pem
from fedloom.trust.documents import DAY_S

CERTIFICATE_DAYS = 730
RENEW_DAYS = 240
"""A certificate that is valid for fewer days than this is made again."""
_LIST_DAYS = 3650
"""A broker shuts everybody out when its revocation list is out of date, and this one lies beside it, never fetched."""
_PREFIX = "aggregator-"
_MAX_NAME = 64
"""Characters in a common name. Source: RFC 5280, appendix A.1."""


def broker_identity(directory: Path, authority: Authority, hosts: Sequence[str]) -> list[Path]:
    """`broker.crt` and `broker.key` in `directory` for a broker that is reached by these names and addresses.

    Returns what it has written, here and below.
    """

    def fits(certificate: x509.Certificate) -> bool:
        return _hosts_in(certificate) == {_spelt(each) for each in hosts}

    if _kept(directory / "broker.crt", authority, fits) is not None:
        return []
    return _make(directory / "broker.crt", authority, hosts[0][:_MAX_NAME], hosts)


def aggregator_identity(directory: Path, authority: Authority, wanted: str = "") -> tuple[str, list[Path]]:
    """`aggregator.crt` and `aggregator.key` in `directory`; returns the common name as well.

    That is the aggregator's client id at a broker that takes it from there. So it is a secret, unless one is `wanted`:
    who connects under a client id throws its holder off, and strangers may connect to join.
    """

    def fits(certificate: x509.Certificate) -> bool:
        name = _name_in(certificate)
        return name == wanted if wanted else name.startswith(_PREFIX)

    kept = _kept(directory / "aggregator.crt", authority, fits)
    if kept is not None:
        return _name_in(kept), []
    name = wanted or _PREFIX + os.urandom(16).hex()
    return name, _make(directory / "aggregator.crt", authority, name, ())


def revocation_list(path: Path, authority: Authority, certificates: Sequence[bytes]) -> list[Path]:
    """The list (PEM) at `path` that shuts the holders of these certificates (DER) out."""
    serials = {x509.load_der_x509_certificate(each).serial_number for each in certificates}
    now_s = time.time()
    if path.exists() and _lists(path.read_bytes(), authority, serials):
        return []
    listed = authority.revocation_list(sorted(serials), now_s - SKEW_S, now_s + _LIST_DAYS * DAY_S)
    write_durably(path, listed)
    return [path]


def revoked_devices(store: Store) -> tuple[str, ...]:
    """The ids of all revoked devices, in hex."""
    return tuple(sorted(device.id.hex() for device in store.devices() if device.revoked))


def revoked_certificates(store: Store, now_s: float) -> list[bytes]:
    """The certificates (DER) of revoked devices that have not expired."""
    columns = select(t.certificates.c.certificate).join(t.devices, t.devices.c.id == t.certificates.c.device)
    wanted = columns.where(t.devices.c.revoked, t.certificates.c.not_after > now_s).order_by(t.certificates.c.serial)
    with store.engine.connect() as connection:
        return [bytes(row[0]) for row in connection.execute(wanted)]


def _kept(path: Path, authority: Authority, fits: Callable[[x509.Certificate], bool]) -> x509.Certificate | None:
    """The certificate at `path`, if it can still be used with the key beside it."""
    key = path.with_suffix(".key")
    if not path.exists() or not key.exists():
        return None
    try:
        read = x509.load_pem_x509_certificate(path.read_bytes())
        der = read.public_bytes(serialization.Encoding.DER)
        check_certificate(der, authority.certificate, read_private(key), _name_in(read))
    except (ValueError, Refused):
        return None
    return read if fits(read) and _days_left(read.not_valid_after_utc) >= RENEW_DAYS else None


def _make(path: Path, authority: Authority, name: str, hosts: Sequence[str]) -> list[Path]:
    """A new key and its certificate. After a power cut between the two they do not fit, and both are made again."""
    key, now_s = new_key(), time.time()
    end_s = now_s + CERTIFICATE_DAYS * DAY_S
    certificate = authority.issue(public_key_of(key), name, now_s - SKEW_S, end_s, hosts)
    write_durably(path.with_suffix(".key"), key)
    write_durably(path, to_pem(certificate))
    return [path.with_suffix(".key"), path]


def _lists(data: bytes, authority: Authority, serials: set[int]) -> bool:
    """Whether a revocation list is the authority's, names exactly these, and will do for long."""
    try:
        read = x509.load_pem_x509_crl(data)
    except ValueError:
        return False
    issuer = x509.load_der_x509_certificate(authority.certificate)
    end = read.next_update_utc
    is_ours = read.issuer == issuer.subject and read.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    return is_ours and {each.serial_number for each in read} == serials and end is not None and _days_left(end) > 365


def _days_left(end: datetime.datetime) -> float:
    return (end - datetime.datetime.now(datetime.UTC)).total_seconds() / DAY_S


def _name_in(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _hosts_in(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {_spelt(str(each.value)) for each in names}


def _spelt(host: str) -> str:
    """The one spelling of a name or an address."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host.lower()
