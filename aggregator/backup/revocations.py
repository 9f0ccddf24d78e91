"""Revokes again, after a restore, who was revoked since the backup: the broker has a list of their certificates.

It is signed by the federation's own authority, whose key is in the backup, so it can come from a broker that nobody
trusts. Who joined after the backup is not known any more, and is out anyway.
"""

from pathlib import Path

from cryptography import x509
from sqlalchemy import Connection, select, update

from aggregator import tables as t
from fedloom.errors import StoreError

_AT_A_TIME = 500
"""SQLite takes so many values in one statement."""


def listed_serials(path: Path, authority: bytes) -> list[str]:
    """The serial numbers, in hex, on a list (PEM) that the holder of this certificate (DER) has signed.

    Raises:
        StoreError: it cannot be read, or is not of this federation.
    """
    remedy = "name the crl.pem that the broker of this federation uses"
    try:
        read = x509.load_pem_x509_crl(path.read_bytes())
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except ValueError:
        raise StoreError(f"{path}: is no list of revoked certificates; {remedy}") from None
    issuer = x509.load_der_x509_certificate(authority)
    if read.issuer != issuer.subject or not read.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]
        raise StoreError(f"{path}: was not signed by this federation's authority; {remedy}")
    return [f"{each.serial_number:x}" for each in read]


def revoke_again(connection: Connection, serials: list[str]) -> list[str]:
    """Revoke the devices that have these certificates; returns the names of those that were in."""
    found: dict[bytes, str] = {}
    for start in range(0, len(serials), _AT_A_TIME):
        of = select(t.certificates.c.device).where(t.certificates.c.serial.in_(serials[start : start + _AT_A_TIME]))
        rows = connection.execute(
            select(t.devices.c.id, t.devices.c.name).where(t.devices.c.id.in_(of), ~t.devices.c.revoked)
        )
        found |= {row.id: row.name for row in rows}
    for device in found:
        connection.execute(update(t.devices).where(t.devices.c.id == device).values(revoked=True))
    return sorted(found.values())
