"""What the daemon and the app's process say to each other: 8 bytes of length (big-endian), then msgpack."""

import os
import select
import struct
from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec

from fedloom import msgpack
from fedloom.errors import Reason, Refused
from fedloom.wire.records import Settings

LENGTH = struct.Struct(">Q")
Message = TypeVar("Message")


class Call(msgspec.Struct, frozen=True, array_like=True):
    """A request for the app."""

    app: str
    directory: str
    node: Annotated[int, msgspec.Meta(ge=2)]
    """This device's number among Flower's nodes, see fedloom.flower.nodes."""
    node_config: Settings
    message_id: str
    request: bytes
    """See fedloom.wire.records.Request."""
    context: bytes
    """The app's records of this run, as it has left them; empty at first."""


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What the app has made of it."""

    reply: bytes
    """See fedloom.wire.records.Reply."""
    context: bytes | None
    """None: the app has failed, and its context stays as it was."""


class EndedError(Exception):
    """The other side is gone."""


def send(descriptor: int, message: msgspec.Struct) -> None:
    """Write a whole message.

    Raises:
        EndedError: nobody reads it.
    """
    content = msgpack.encode(message)
    try:
        for part in (LENGTH.pack(len(content)), content):
            view = memoryview(part)
            while view:
                view = view[os.write(descriptor, view) :]
    except BrokenPipeError:
        raise EndedError from None


def receive(
    descriptor: int, kind: type[Message], max_bytes: int, poll_s: float, goes_on: Callable[[], bool]
) -> Message | None:
    """Read a whole message; None when `goes_on`, which is asked every `poll_s` seconds of silence, says no.

    Raises:
        EndedError: the other side is gone.
        Refused: TOO_LARGE, MALFORMED.
    """
    buffer, wanted = bytearray(), LENGTH.size
    while len(buffer) < wanted:
        if not select.select([descriptor], [], [], poll_s)[0]:
            if not goes_on():
                return None
            continue
        part = os.read(descriptor, min(wanted - len(buffer), 1 << 20))
        if not part:
            raise EndedError
        buffer += part
        if len(buffer) == LENGTH.size == wanted:
            wanted += LENGTH.unpack(buffer)[0]
            if wanted > max_bytes:
                raise Refused(Reason.TOO_LARGE, f"{wanted} bytes")
    return msgpack.decode(memoryview(buffer)[LENGTH.size :], kind)
