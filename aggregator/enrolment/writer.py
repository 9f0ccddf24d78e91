"""Writes the registrar's word to one device: the answer to a request to join, or a renewal."""

from aggregator.enrolment.records import Grant
from aggregator.keys import AggregatorKeys
from aggregator.writer import Entropy
from fedloom import msgpack
from fedloom.trust.seal import Recipient
from fedloom.trust.tokens import Broker
from fedloom.wire.envelope import Header, Type, write_sealed
from fedloom.wire.messages import UNASKED, Admission, Membership


class MembershipWriter:
    """The registrar's hand."""

    def __init__(self, keys: AggregatorKeys, broker: Broker, entropy: Entropy) -> None:
        """`broker`: where devices find it from now on."""
        self._keys = keys
        self._broker = broker
        self._entropy = entropy

    def accepted(self, to: bytes, recipient: Recipient, grant: Grant, answers: bytes = UNASKED) -> bytes:
        """What lets a device in, or stay in; `to` is the token's id, or the device's."""
        granted = (grant.device.credential, grant.certificate, self._broker)
        return self._write(to, recipient, Membership(answers, Admission.ACCEPTED, "", *granted))

    def not_accepted(self, to: bytes, recipient: Recipient, answers: bytes, verdict: Admission, reason: str) -> bytes:
        """PENDING, or REFUSED with its reason."""
        return self._write(to, recipient, Membership(answers, verdict, reason, b"", b"", None))

    def _write(self, to: bytes, recipient: Recipient, membership: Membership) -> bytes:
        root = self._keys.root
        header = Header(Type.MEMBERSHIP, root.federation, root.registrar.id, self._entropy(16), recipient=to)
        return write_sealed(header, msgpack.encode(membership), self._keys.registrar.signing, recipient)
