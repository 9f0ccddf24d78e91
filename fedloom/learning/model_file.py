"""A saved model: self-describing, safe to open whoever sent it, checked by its hash.

    offset  bytes  content
    0       7      "FEDLOOM"
    7       1      version, 1
    8       4      h, length of the header, little-endian
    12      h      header, MessagePack map: spec, loss, standardised, classes, features, meta
    12+h    4·p    weights, little-endian float32; p follows from spec
            8·d    if standardised: shift (d), scale (d), little-endian float32; d = spec.inputs
    end-32  32     SHA-256 of everything before

Nothing in it is code, a class name, a path, a dtype or a shape.
"""

import hashlib
from pathlib import Path

import msgspec
import numpy as np

from fedloom.errors import DataError
from fedloom.files import write_durably
from fedloom.learning.model import Model
from fedloom.learning.plan import Loss
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Standardiser

MAGIC = b"FEDLOOM"
VERSION = 1
MAX_FILE_BYTES = 1 << 30
MAX_HEADER_BYTES = 1 << 24
_FLOAT = np.dtype("<f4")
_PREFIX = len(MAGIC) + 1 + 4
_DIGEST = 32


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    spec: ModelSpec
    loss: Loss
    standardised: bool
    classes: tuple[str, ...]
    features: tuple[str, ...]
    meta: dict[str, str]


def save(model: Model, path: Path) -> None:
    """Write the model, all or nothing.

    Raises:
        ValueError: its parts do not fit together.
    """
    write_durably(path, to_bytes(model), mode=0o644)


def load(path: Path) -> Model:
    """Read a model back.

    Raises:
        DataError: there is no such file, or it is not a sound model.
    """
    return from_bytes(read_bounded(path), str(path))


def read_bounded(path: Path) -> bytes:
    """The bytes of a model file, if they are at most MAX_FILE_BYTES.

    Raises:
        DataError: it cannot be read, or is larger.
    """
    try:
        size = path.stat().st_size
        if size <= MAX_FILE_BYTES:
            return path.read_bytes()
    except OSError as error:
        raise DataError(str(path), "", f"cannot be read ({error.strerror})", "check the path") from None
    raise DataError(str(path), "", f"has {size} bytes, more than {MAX_FILE_BYTES}", "use a smaller model")


def to_bytes(model: Model) -> bytes:
    """The file's content.

    Raises:
        ValueError: the model's parts do not fit together.
    """
    model.check()
    scaling = model.standardiser
    header = msgspec.msgpack.encode(
        _Header(model.spec, model.loss, scaling is not None, model.classes, model.features, model.meta), order="sorted"
    )
    parts = [MAGIC, bytes([VERSION]), len(header).to_bytes(4, "little"), header]
    parts += [array.astype(_FLOAT).tobytes() for array in (model.weights, *(scaling or ()))]
    content = b"".join(parts)
    return content + hashlib.sha256(content).digest()


def from_bytes(data: bytes, where: str) -> Model:
    """The model in a file's content; `where` names the source in errors.

    Raises:
        DataError: it is not a sound model.
    """
    try:
        return _decode(data)
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        raise DataError(where, "", f"is not a sound fedloom model: {error}", "export or copy it again") from None


def _decode(data: bytes) -> Model:
    if not data.startswith(MAGIC) or len(data) < _PREFIX + _DIGEST:
        raise ValueError("it does not begin like one")
    if data[len(MAGIC)] != VERSION:
        raise ValueError(f"its version is {data[len(MAGIC)]}, this fedloom reads {VERSION}")
    if hashlib.sha256(memoryview(data)[:-_DIGEST]).digest() != data[-_DIGEST:]:
        raise ValueError("its hash does not match, it is damaged")
    length = int.from_bytes(data[_PREFIX - 4 : _PREFIX], "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header is longer than {MAX_HEADER_BYTES} bytes")
    header = msgspec.msgpack.decode(data[_PREFIX : _PREFIX + length], type=_Header)
    size, inputs = header.spec.layout().size, header.spec.inputs
    expected = size + (2 * inputs if header.standardised else 0)
    if len(data) - _PREFIX - length - _DIGEST != expected * _FLOAT.itemsize:
        raise ValueError("it does not hold as many numbers as its header says")
    numbers = np.frombuffer(data, _FLOAT, expected, _PREFIX + length).astype(np.float32)
    shift, scale = numbers[size : size + inputs], numbers[size + inputs :]
    model = Model(
        spec=header.spec,
        loss=header.loss,
        weights=numbers[:size],
        standardiser=Standardiser(shift, scale) if header.standardised else None,
        classes=header.classes,
        features=header.features,
        meta=header.meta,
    )
    model.check()
    return model
