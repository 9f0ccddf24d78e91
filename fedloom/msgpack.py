"""Reading msgpack that somebody else wrote: strictly as one type, and with one kind of failure."""

from typing import TypeVar

import msgspec

from fedloom.errors import Reason, Refused

Kind = TypeVar("Kind")

encode = msgspec.msgpack.encode


def decode(blob: bytes | memoryview, kind: type[Kind]) -> Kind:
    """Read `blob` as a `kind`, and as nothing else. Bound its length before.

    Raises:
        Refused: MALFORMED.
    """
    try:
        return msgspec.msgpack.decode(blob, type=kind)
    # Text that is not UTF-8 and nesting without end are not msgspec errors.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(Reason.MALFORMED, str(error)) from None
