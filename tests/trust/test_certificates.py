"""Certificates for the broker's TLS: what `ssl` and `cryptography`'s own verifier make of them."""

import datetime
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.verification import PolicyBuilder, Store
from hypothesis import given
from hypothesis import strategies as st

from fedloom.errors import Reason, Refused
from fedloom.trust.certificates import (
    Authority,
    check_certificate,
    new_authority,
    new_key,
    new_request,
    public_key_in,
    public_key_of,
    serial_and_end,
    to_pem,
)

NOW_S = datetime.datetime.now(datetime.UTC).timestamp()
CA_KEY, KEY = new_key(), new_key()
CA = new_authority(CA_KEY, "fedloom test", NOW_S)
AUTHORITY = Authority(CA_KEY, CA)
REQUEST = new_request(KEY)
DAY_S = 86_400


def issue(**changes):
    arguments = {
        "public_key": public_key_of(KEY),
        "name": "d1",
        "not_before": NOW_S - 60,
        "not_after": NOW_S + DAY_S,
        "hosts": (),
    }
    return AUTHORITY.issue(**(arguments | changes))


def reason_of(call, *arguments):
    with pytest.raises(Refused) as refusal:
        call(*arguments)
    return refusal.value.reason


def test_an_independent_verifier_believes_a_servers_certificate():
    store = Store([x509.load_der_x509_certificate(CA)])
    verifier = PolicyBuilder().store(store).build_server_verifier(x509.DNSName("broker.example"))
    leaf = x509.load_der_x509_certificate(issue(hosts=("broker.example", "127.0.0.1")))
    assert next(each.subject for each in verifier.verify(leaf, [])) == leaf.subject


def test_an_independent_verifier_believes_a_clients_certificate():
    """Through its extensions: a device has no host name, so it has no alternative name either."""
    leaf = x509.load_der_x509_certificate(issue())
    leaf.verify_directly_issued_by(x509.load_der_x509_certificate(CA))
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_two_sides_shake_hands(tmp_path):
    """Mutual TLS 1.3 through OpenSSL, each side believing the authority alone."""
    paths = {}
    for name, hosts in (("server", ("127.0.0.1",)), ("client", ())):
        key = new_key()
        certificate = issue(public_key=public_key_of(key), name=name, hosts=hosts)
        paths[name] = tmp_path / f"{name}.crt", tmp_path / f"{name}.key"
        paths[name][0].write_bytes(to_pem(certificate))
        paths[name][1].write_bytes(key)
    ca = to_pem(CA).decode()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=ca)
    server.verify_mode = ssl.CERT_REQUIRED
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    server.load_cert_chain(*paths["server"])
    client = ssl.create_default_context(cadata=ca)
    client.load_cert_chain(*paths["client"])
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with server.wrap_socket(connection, server_side=True) as sock:
                seen.append(sock.getpeercert()["subject"])
                sock.sendall(b"hello")

        thread = threading.Thread(target=serve)
        thread.start()
        with (
            socket.create_connection(listener.getsockname()) as raw,
            client.wrap_socket(raw, server_hostname="127.0.0.1") as sock,
        ):
            assert sock.recv(5) == b"hello"
            assert sock.version() == "TLSv1.3"
        thread.join(10)
    assert seen == [((("commonName", "client"),),)]


def test_a_device_checks_its_certificate():
    check_certificate(issue(), CA, KEY, "d1")
    other = new_key()
    assert reason_of(check_certificate, issue(), CA, other, "d1") is Reason.BAD_CREDENTIAL
    assert reason_of(check_certificate, issue(), CA, KEY, "d2") is Reason.BAD_CREDENTIAL
    foreign = new_authority(other, "fedloom test", NOW_S)
    assert reason_of(check_certificate, issue(), foreign, KEY, "d1") is Reason.BAD_CREDENTIAL


def test_dates_are_the_brokers_business():
    check_certificate(issue(not_before=0, not_after=1000), CA, KEY, "d1")


def test_a_request_proves_the_key():
    assert public_key_in(new_request(KEY)) == public_key_of(KEY)


def test_a_request_of_another_kind_of_key_is_refused():
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    for key, algorithm in (
        (ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()),
        (ed25519.Ed25519PrivateKey.generate(), None),
    ):
        request = builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)
        assert reason_of(public_key_in, request) is Reason.MALFORMED


def test_a_request_whose_signature_was_changed_is_refused():
    request = bytearray(new_request(KEY))
    request[-1] ^= 1
    assert reason_of(public_key_in, bytes(request)) in (Reason.BAD_SIGNATURE, Reason.MALFORMED)


@given(st.binary(max_size=400))
def test_nonsense_is_refused(data):
    assert reason_of(public_key_in, data) is Reason.MALFORMED
    assert reason_of(check_certificate, data, CA, KEY, "d1") is Reason.BAD_CREDENTIAL


@given(st.data())
def test_a_request_with_a_changed_byte_gives_the_same_key_or_is_refused(data):
    request = bytearray(REQUEST)
    request[data.draw(st.integers(0, len(request) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        key = public_key_in(bytes(request))
    except Refused:
        return
    assert key == public_key_of(KEY)


def test_a_revocation_list_names_serials_and_is_signed():
    serial, end_s = serial_and_end(issue())
    assert end_s == int(NOW_S + DAY_S)
    crl = x509.load_pem_x509_crl(AUTHORITY.revocation_list([serial], NOW_S, NOW_S + DAY_S))
    assert crl.is_signature_valid(x509.load_der_x509_certificate(CA).public_key())
    assert crl.get_revoked_certificate_by_serial_number(serial) is not None
    assert crl.get_revoked_certificate_by_serial_number(serial + 1) is None


def test_serials_differ():
    assert len({serial_and_end(issue())[0] for _ in range(50)}) == 50


def test_key_and_certificate_of_an_authority_belong_together():
    with pytest.raises(ValueError, match="not that of its certificate"):
        Authority(new_key(), CA)


def test_dates_that_no_calendar_has_are_bounded():
    issue(not_before=-5.0, not_after=1e15)
