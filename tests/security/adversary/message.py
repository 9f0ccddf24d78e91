"""What travels, as the proxy and its scripts see it."""

from typing import NamedTuple

from fedloom.wire import chunks, envelope

_TYPE_AT = 5
_KINDS: dict[int, str] = {
    envelope.Type.MANIFEST: "manifest",
    envelope.Type.TASK: "task",
    envelope.Type.UPDATE: "update",
    envelope.Type.RECEIPT: "receipt",
    envelope.Type.PRESENCE: "presence",
    envelope.Type.ENROL: "enrol",
    envelope.Type.MEMBERSHIP: "membership",
}


class Message(NamedTuple):
    """What a PUBLISH packet carries, and on whose connection."""

    client: str
    """The client id: the device's, the aggregator's, or the token's of a device that joins, in hex."""
    to_client: bool
    """False: on its way to the broker."""
    topic: str
    payload: bytes
    retain: bool = False

    @property
    def kind(self) -> str:
        """What it claims to be: a type of envelope, frame, chunk, root, or nothing."""
        if chunks.is_frame(self.payload):
            return "frame"
        if "/all/model/" in self.topic:
            return "chunk"
        if "/all/root/" in self.topic:
            return "root"
        return _KINDS.get(self.payload[_TYPE_AT], "") if self.is_envelope else ""

    @property
    def is_envelope(self) -> bool:
        return self.payload.startswith(envelope.MAGIC) and len(self.payload) > envelope.HEADER_BYTES

    @property
    def device(self) -> str:
        """The device in the topic, or nothing."""
        return self._id_below("d")

    @property
    def token(self) -> str:
        """The join token in the topic, or nothing."""
        return self._id_below("enrol")

    def _id_below(self, level: str) -> str:
        parts = self.topic.split("/")
        return parts[3] if len(parts) == 5 and parts[2] == level else ""


class Send(NamedTuple):
    """What the proxy shall send, and when."""

    message: Message
    delay_s: float = 0.0
