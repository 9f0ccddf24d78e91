"""Targets that read bytes and hold no state: messages, pieces, documents, tokens, certificates."""

import warnings
from collections.abc import Callable, Iterator
from hashlib import sha256

import federation as f
import numpy as np
from cryptography.utils import CryptographyDeprecationWarning

from aggregator.assembler import Assembler
from fedloom import msgpack
from fedloom.errors import InputError, Reason, Refused
from fedloom.trust import documents, tokens
from fedloom.trust.certificates import check_certificate, public_key_in
from fedloom.trust.signing import SigningKey
from fedloom.wire import encoding as codec
from fedloom.wire import messages as m
from fedloom.wire import records
from fedloom.wire.brief import open_brief
from fedloom.wire.chunks import Chunks, read_missing, read_question
from fedloom.wire.envelope import parse
from fedloom.wire.model_blob import open_model
from fedloom.wire.once import open_once, seal_once
from fedloom.wire.tally import count_values

MAX_BYTES = 2**16
MAX_BLOB = 2**14
MAX_TRANSFERS = 4

Target = Callable[[bytes], None]


def accepts(run: Target, data: bytes) -> bool:
    """Whether `data` is taken; False where it is refused as it should be. Any other exception is a defect."""
    try:
        run(data)
    except (Refused, InputError):
        return False
    return True


def envelope(data: bytes) -> None:
    message = parse(data, MAX_BYTES)
    if message.header.suite is f.SUITE:
        message.open(f.ROUND_SEAL)
    else:
        message.clear()


def body(kind: type) -> Target:
    """The body of a message, as it is when it has been opened."""

    def target(data: bytes) -> None:
        value = msgpack.decode(data, kind)
        assert msgpack.decode(msgpack.encode(value), kind) == value or np.nan in _numbers(value)

    return target


def _numbers(value: object) -> Iterator[float]:
    """NaN where there is one: it is not equal to itself."""
    for each in getattr(value, "__struct_fields__", ()):
        field = getattr(value, each)
        if isinstance(field, float) and field != field:
            yield np.nan
        yield from _numbers(field)


def frames(data: bytes) -> None:
    """A stream of frames, see `pieces`; the first byte is the source."""
    assembler, refusal = Assembler(MAX_BLOB, MAX_TRANSFERS), None
    for source, frame in pieces(data):
        try:
            blob = assembler.accept(frame, str(source))
        except Refused as error:
            refusal = error
            continue
        assert assembler.held_bytes() <= MAX_BLOB * MAX_TRANSFERS
        assert blob is None or sha256(blob).digest()[:16] == frame[4:20]
    if refusal is not None:
        raise refusal


def pieces(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(a byte that says what it is, content) of each piece; between the two are two bytes of length."""
    while len(data) >= 3:
        end = 3 + int.from_bytes(data[1:3])
        yield data[0], data[3:end]
        data = data[end:]


def download(data: bytes) -> None:
    """Chunk size, total, a chunk that is lied about, then the chunks."""
    if len(data) < 5:
        return
    chunk_bytes, total, lie = int.from_bytes(data[:2]), int.from_bytes(data[2:4]), data[4]
    content, size = data[5:], max(1, chunk_bytes)
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    hashes = [sha256(chunk).digest() for chunk in chunks]
    if lie < len(hashes):
        hashes[lie] = bytes(32)
    loading = Chunks.checked(hashes, chunk_bytes, total)
    for number in reversed(range(len(chunks) + (lie & 1))):
        loading.check(number, chunks[number] if number < len(chunks) else b"")
    assert sum(loading.span(number)[1] for number in range(len(hashes))) == total


def question(data: bytes) -> None:
    """A question, and the bits of the answer."""
    transfer = read_question(data[:26], MAX_BLOB)
    assert transfer.question() == data[:26]
    missing = read_missing(data[26:], transfer.frames)
    assert all(0 <= number < transfer.frames for number in missing)


def topics(data: bytes) -> None:
    """The first byte chooses the reader, and whether the rest is a whole topic or its end."""
    if not data:
        return
    text = data[1:].decode("utf-8", "replace")
    whole = text if data[0] & 8 else f"fedloom/{f.FEDERATION.hex()}/{text}"
    readers = (f.TOPICS.device_of, f.TOPICS.chunk_of, f.TOPICS.token_of, f.TOPICS.root_version_of)
    readers[data[0] & 3](whole)


def encoding(data: bytes) -> None:
    """Encoding, size, then the vector."""
    if len(data) < 2:
        return
    out = np.empty(1 + 9 * data[1], np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # as in admission
        codec.decode(data[2:], codec.NAMES[1 + data[0] % len(codec.NAMES)], out)
    assert np.isfinite(out).all()


def model(data: bytes) -> None:
    """Flags, weights, inputs, then the model: sealed as it is, or sealed here."""
    if len(data) < 3:
        return
    flags, weights, inputs = data[:3]
    cipher = data[3:] if flags & 1 else seal_once(data[3:], f.MODEL_KEY, b"fedloom/1/model")
    named = data[3:] if flags & 2 else b""
    split = max(0, len(named) - 4 * weights) if flags & 4 else len(named)
    control = sha256(named[split:]).digest() if flags & 4 else b""
    ref = m.ModelRef(1, sha256(named[:split]).digest(), bytes(32), max(1, len(cipher)), 1024, (), control)
    opened = open_model(cipher, ref, f.MODEL_KEY, weights, inputs - 1 if inputs else None)
    assert opened.weights.size == weights
    assert (opened.control is not None) == bool(flags & 4 and weights)
    assert opened.control is None or opened.control.size == weights


def app_request(data: bytes) -> None:
    """As a device reads it; each array of what is accepted can be looked at."""
    _look_at(records.read_request(data).content)


def app_reply(data: bytes) -> None:
    """As the aggregator reads it."""
    _look_at(records.read_reply(data).content or {})


def values(data: bytes) -> None:
    """How much a message claims to hold, against what is built of it."""
    counted = count_values(data, records.MAX_VALUES)
    built = _values(msgpack.decode(data, object))
    assert built <= counted, f"{built} values, {counted} counted"
    if counted > records.MAX_VALUES:
        raise Refused(Reason.TOO_LARGE)


def _values(value: object) -> int:
    """A key that comes twice is built once."""
    match value:
        case dict():
            return 1 + sum(_values(key) + _values(each) for key, each in value.items())
        case list() | tuple():
            return 1 + sum(map(_values, value))
        case _:
            return 1


def _look_at(content: dict[str, records.Record]) -> None:
    for record in content.values():
        for value in record.items.values():
            if isinstance(value, records.Array):
                values = value.values()
                assert values.shape == value.shape
                assert values.dtype == value.dtype


def brief(data: bytes) -> None:
    open_brief(seal_once(data, f.BRIEF_KEY, b"fedloom/1/brief"), f.BRIEF_KEY)


def once(data: bytes) -> None:
    open_once(data, f.BRIEF_KEY, b"fedloom/1/brief")


def root(data: bytes) -> None:
    if accepts(lambda blob: documents.open_next_root(blob, f.ROOT), data):
        raise AssertionError("a root document that its predecessor's key has not signed")
    documents.peek_root(data)
    documents.add_root_signature(data, f.DEVICE_SIGNING)
    documents.open_root(data, sha256(data).digest())


def root_signed(data: bytes) -> None:
    """The body of a root document, signed by the key of the one before and by itself."""
    documents.open_next_root(_signed(data, b"fedloom/1/root", f.ROOT_SIGNING), f.ROOT)


def credential(data: bytes) -> None:
    documents.open_credential(data, f.ROOT)


def credential_signed(data: bytes) -> None:
    """The body of a credential, signed by the registrar."""
    documents.open_credential(_signed(data, b"fedloom/1/credential", f.REGISTRAR_SIGNING), f.ROOT)


def _signed(data: bytes, domain: bytes, key: SigningKey) -> bytes:
    return msgpack.encode([data, [[key.id, key.sign(domain, data)]]])


def token(data: bytes) -> None:
    """A join token, as a person may type it."""
    tokens.read_token(data.decode("utf-8", "replace"))


def token_checked(data: bytes) -> None:
    """What a join token says, with a checksum that fits."""
    text = tokens.PREFIX + tokens.base64.urlsafe_b64encode(data + tokens._check(data)).rstrip(b"=").decode()
    read = tokens.read_token(text)
    assert tokens.read_token(tokens.write_token(read)) == read


def request(data: bytes) -> None:
    """A certificate signing request."""
    public_key_in(data)


def certificate(data: bytes) -> None:
    """A certificate as a device gets it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # of what will be a ValueError one day
        check_certificate(data, f.CA, f.DEVICE_TLS_KEY, f.DEVICE.hex())
