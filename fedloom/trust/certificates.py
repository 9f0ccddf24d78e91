"""X.509 for the broker's mutual TLS (RFC 5280), on P-256: `cryptography`'s verifier takes no Ed25519.

What is end-to-end rests on none of it: a broker that lets everybody in can still read and forge nothing. Keys are PEM
(PKCS #8, unencrypted), as `ssl` reads them; certificates and requests are DER, as they travel.
"""

import datetime
from collections.abc import Sequence
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedloom.errors import Reason, Refused
from fedloom.trust.documents import DAY_S

_CA_YEARS = 30
SKEW_S = 3600
"""How far behind a broker's clock may be and still take a new certificate."""
_LAST_S = 253_402_300_799
"""The end of the year 9999, the last time that X.509 can name."""
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion)
"""What `cryptography` raises for bytes from others; the last is no ValueError."""


def new_key() -> bytes:
    """A P-256 private key (PEM)."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_authority(key: bytes, name: str, now_s: float) -> bytes:
    """The self-signed certificate of an authority that may only sign certificates and revocation lists."""
    private = _private(key)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    builder = (
        _builder(subject, private.public_key(), now_s - SKEW_S, now_s + _CA_YEARS * 366 * DAY_S)
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
    )
    return _der(builder.sign(private, hashes.SHA256()))


def new_request(key: bytes) -> bytes:
    """A certificate signing request: proof that its sender holds `key`. The name is the registrar's part."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(_private(key), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def public_key_in(request: bytes) -> bytes:
    """The public key (DER, SubjectPublicKeyInfo) of a request whose signature holds; nothing else in it counts.

    Raises:
        Refused: MALFORMED, or BAD_SIGNATURE.
    """
    try:
        read = x509.load_der_x509_csr(request)
        public_key = _spki(read.public_key())
        is_signed = read.is_signature_valid
    except _UNREADABLE:
        raise Refused(Reason.MALFORMED, "not a certificate signing request of a P-256 key") from None
    if not is_signed:
        raise Refused(Reason.BAD_SIGNATURE, "the signature of the request")
    return public_key


def public_key_of(key: bytes) -> bytes:
    """The public part (DER, SubjectPublicKeyInfo) of a private key."""
    return _spki(_private(key).public_key())


class Authority:
    """The registrar's certificate authority, loaded."""

    def __init__(self, key: bytes, certificate: bytes) -> None:
        """`key` is PEM, `certificate` DER.

        Raises:
            ValueError: they are none, or do not belong together.
        """
        self._key = _private(key)
        self._certificate = x509.load_der_x509_certificate(certificate)
        self.certificate = certificate
        if _spki(self._key.public_key()) != _spki(self._certificate.public_key()):
            raise ValueError("the authority's key is not that of its certificate")

    def issue(
        self, public_key: bytes, name: str, not_before: float, not_after: float, hosts: Sequence[str] = ()
    ) -> bytes:
        """A certificate (DER) for the holder of `public_key` (DER) under the common name `name`.

        With `hosts`, names and addresses, it is a server's; without, a client's. Times are seconds since 1970 (UTC).
        """
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(subject, _p256(serialization.load_der_public_key(public_key)), not_before, not_after)
            .issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(each) for each in hosts]), critical=False
            )
        return _der(builder.sign(self._key, hashes.SHA256()))

    def revocation_list(self, serials: Sequence[int], now_s: float, next_s: float) -> bytes:
        """The list (PEM) of revoked certificates, by serial number; brokers want the next one by `next_s`."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(_time(now_s))
            .next_update(_time(next_s))
        )
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_time(now_s)).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def serial_and_end(certificate: bytes) -> tuple[int, int]:
    """Serial number, and last second (since 1970, UTC), of a certificate (DER).

    Raises:
        ValueError: it is none.
    """
    try:
        read = x509.load_der_x509_certificate(certificate)
    except x509.InvalidVersion as error:
        raise ValueError(str(error)) from None
    return read.serial_number, int(read.not_valid_after_utc.timestamp())


def check_certificate(certificate: bytes, authority: bytes, key: bytes, name: str) -> None:
    """Return if `authority` issued `certificate` (both DER) to the holder of `key` (PEM) under the common name `name`.

    Dates are the broker's business: this device's clock may be anything.

    Raises:
        Refused: BAD_CREDENTIAL.
    """
    try:
        read, issuer = x509.load_der_x509_certificate(certificate), x509.load_der_x509_certificate(authority)
        read.verify_directly_issued_by(issuer)
        names = [each.value for each in read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        is_ours = _spki(read.public_key()) == public_key_of(key) and names == [name]
    except _UNREADABLE:
        raise Refused(Reason.BAD_CREDENTIAL, "the certificate is not of the federation's authority") from None
    if not is_ours:
        raise Refused(Reason.BAD_CREDENTIAL, "the certificate is for another device")


def to_pem(certificate: bytes) -> bytes:
    """The PEM of a certificate (DER)."""
    return x509.load_der_x509_certificate(certificate).public_bytes(serialization.Encoding.PEM)


def _builder(
    subject: x509.Name, public: ec.EllipticCurvePublicKey, not_before: float, not_after: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_time(not_before))
        .not_valid_after(_time(not_after))
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(min(max(seconds, 0), _LAST_S), datetime.UTC)


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    private = serialization.load_pem_private_key(key, password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise ValueError("not a P-256 private key")  # noqa: TRY004 - a wrong value: callers turn it into a refusal
    return private


def _p256(public: object) -> ec.EllipticCurvePublicKey:
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise ValueError("not a P-256 key")  # noqa: TRY004 - a wrong value: callers turn it into a refusal
    return public


def _spki(public: object) -> bytes:
    return _p256(public).public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
