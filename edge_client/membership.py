"""The registrar's word to one device, judged: the answer to its wish to join, or a renewal."""

from fedloom import msgpack
from fedloom.errors import Reason, Refused
from fedloom.trust.device_keys import DeviceKeys, DeviceSecrets
from fedloom.trust.documents import Credential, Root, open_credential
from fedloom.trust.seal import SealKey
from fedloom.trust.signing import VerifyingKey
from fedloom.wire.envelope import Envelope, Type
from fedloom.wire.messages import UNASKED, Admission, Membership


def open_membership(envelope: Envelope, recipient: bytes, seal: SealKey, root: Root) -> Membership:
    """Open a message from the registrar that `root` names to `recipient`, who holds `seal`.

    Raises:
        Refused: what an envelope may be; UNKNOWN_TYPE, WRONG_FEDERATION, UNKNOWN_SENDER, WRONG_RECIPIENT, CANNOT_OPEN.
    """
    header = envelope.header
    if header.type is not Type.MEMBERSHIP:
        raise Refused(Reason.UNKNOWN_TYPE, header.type.name)
    if header.federation != root.federation:
        raise Refused(Reason.WRONG_FEDERATION)
    if header.sender != root.registrar.id:
        raise Refused(Reason.UNKNOWN_SENDER)
    envelope.verify(VerifyingKey(root.registrar.signing))
    if (header.recipient, header.recipient_key) != (recipient, seal.id):
        raise Refused(Reason.WRONG_RECIPIENT)
    return msgpack.decode(envelope.open(seal), Membership)


def open_accepted(membership: Membership, own: DeviceSecrets | DeviceKeys, root: Root) -> Credential:
    """The credential in a membership that was granted, if it and the certificate are for these keys.

    Raises:
        Refused: MALFORMED, BAD_SIGNATURE, WRONG_FEDERATION or BAD_CREDENTIAL.
    """
    if membership.verdict is not Admission.ACCEPTED or membership.broker is None:
        raise Refused(Reason.MALFORMED, f"verdict {membership.verdict}")
    credential = open_credential(membership.credential, root)
    if (credential.signing, credential.seal) != (own.signing.public, own.seal.public):
        raise Refused(Reason.BAD_CREDENTIAL, "the credential is for other keys")
    if not credential.name.isprintable():  # it goes to terminals, and into edge.toml
        raise Refused(Reason.BAD_CREDENTIAL, "the name is none that can be shown")
    from fedloom.trust.certificates import check_certificate  # X.509 takes memory: not while idle

    check_certificate(membership.certificate, root.registrar.ca, own.tls, credential.device.hex())
    return credential


def open_renewal(membership: Membership, keys: DeviceKeys) -> Credential | None:
    """The credential that follows the one we hold; None: it is the one that we hold.

    Raises:
        Refused: as `open_accepted`; OLD, BAD_CREDENTIAL for another device.
    """
    if membership.answers != UNASKED:
        raise Refused(Reason.OLD, "an answer to a wish to join")
    credential = open_accepted(membership, keys, keys.root)
    if credential.device != keys.id:
        raise Refused(Reason.BAD_CREDENTIAL, "the credential is for another device")
    if credential == keys.credential:
        return None
    if credential.not_after <= keys.credential.not_after:
        raise Refused(Reason.OLD, "a credential that ends no later than ours")
    return credential
