"""Writes the kept corpus from messages as they should be, and some as they should not: python tests/fuzz/make_corpus.py

What the fuzzer has found besides stays.
"""

import struct
from hashlib import sha256
from pathlib import Path

import federation as f
import numpy as np

from fedloom import msgpack
from fedloom.compression import options_of
from fedloom.job.data import Data
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.trust import certificates, documents
from fedloom.trust.tokens import PREFIX, Token, write_token
from fedloom.wire import messages as m
from fedloom.wire import records
from fedloom.wire.chunks import Transfer, chunk_hashes, split
from fedloom.wire.encoding import encode
from fedloom.wire.envelope import Header, Type, write_clear
from fedloom.wire.once import seal_once

CORPUS = Path(__file__).parent / "corpus"

BRIEF = m.Brief("fuzz", ModelSpec(3, 1), Data(("a", "b", "c"), "y"), TrainPlan("mse"), "float32", 7)
CHUNK = b"chunk" * 8
MANIFEST = m.Manifest(
    version=3,
    previous=bytes(32),
    job=f.JOB,
    round=f.ROUND,
    attempt=f.ATTEMPT,
    phase=m.Phase.TRAIN,
    closes=m.Closed(1, 1, "done"),
    suite=f.SUITE,
    round_key=f.ROUND_SEAL.public,
    deadline_s=60.0,
    max_staleness=20,
    issued_at=f.UTC_S,
    brief=seal_once(msgpack.encode(BRIEF), f.BRIEF_KEY, b"fedloom/1/brief"),
    model=m.ModelRef(1, sha256(b"plain").digest(), sha256(CHUNK).digest(), 40, 1024, chunk_hashes(CHUNK, 1024)),
)
DONE = m.Manifest(**{name: getattr(MANIFEST, name) for name in MANIFEST.__struct_fields__} | {
    "phase": m.Phase.DONE, "round_key": b"", "model": None, "closes": None
})  # fmt: skip
TASK = m.Task(True, True, f.BRIEF_KEY, f.MODEL_KEY, b"D" * 32)
RECEIPT = m.Receipt(b"D" * 32, m.Verdict.REJECTED, "non_finite: a scale", 600)
PRESENCE = m.Presence("ready", "0.1.0", f.NEVER)
VECTOR = np.array([1, -2, 0.5, 0], "<f4")
METRICS = np.array([2.0, 1.0, 4.0, 2.0, 3.0, 5.0], "<f8").tobytes()
MOMENTS = np.array([2.0, *[1.0] * 3, *[1.0] * 3], "<f8").tobytes()
UPDATE = m.Update(5, 1, 2.5, VECTOR.tobytes(), METRICS, "")
DECLINED = m.Update(0, 0, 0.0, b"", b"", "no data")
REQUEST = certificates.new_request(f.DEVICE_TLS_KEY)
ENROL = m.Enrol(
    b"T" * 32,
    f.DEVICE_SIGNING.public,
    f.DEVICE_SEAL.public,
    REQUEST,
    "pump",
    m.Capabilities("0.1.0", "aarch64", 4, 2048),
)
MEMBERSHIP = m.Membership(bytes(32), m.Admission.ACCEPTED, "", f.CREDENTIAL_DOCUMENT, f.CERTIFICATE, f.BROKER)
REFUSED = m.Membership(b"D" * 32, m.Admission.REFUSED, "expired", b"", b"", None)
CONTENT = {
    "arrays": records.ArrayRecord({"w": records.Array.of(VECTOR), "n": records.Array.of(np.array([[True]]))}),
    "metrics": records.MetricRecord({"loss": [1.0, 0.5], "n": 3}),
    "config": records.ConfigRecord({"lr": 0.1, "names": ["a", "b"]}, {"key": b"k", "keys": [b"k"]}),
}
APP_REQUEST = records.Request("train", "1", 7, 60.0, {"epochs": 2, "fast": True}, CONTENT)
TOKEN = write_token(Token(f.FEDERATION, f.TOKEN, b"S" * 32, sha256(f.ROOT_DOCUMENT).digest(), f.NEVER, f.BROKER))
NEXT_ROOT = documents.Root(**{name: getattr(f.ROOT, name) for name in f.ROOT.__struct_fields__} | {"version": 2})

NESTED = b"\x91" * 2000 + b"\xc0"
"""Arrays in arrays."""
HUGE = b"\xdd\xff\xff\xff\xff"
"""An array that claims 4,294,967,295 elements."""
TOO_MANY = b"\x91\x81\xa1m\x92\xa7metrics\x81\xa1x\xdc\xff\xf9" + bytes(100)
"""A reply whose one list claims 65,529 numbers: with all else one value too many."""
HUGE_BYTES = b"\x96\x01\x01\xcb" + bytes(8) + b"\xc6\xff\xff\xff\xff"
"""An update whose vector claims 4 GiB."""


def piece(how: int, content: bytes) -> bytes:
    """A piece of a stream, see `parsers.pieces`."""
    return struct.pack(">BH", how, len(content)) + content


def update_header(**changes: object) -> Header:
    fields = {"job": f.JOB, "round": f.ROUND, "attempt": f.ATTEMPT, "manifest": f.MANIFEST, "encoding": 1} | changes
    header = Header(Type.UPDATE, f.FEDERATION, f.DEVICE, bytes(16), recipient_key=f.ROUND_SEAL.id)
    return header._replace(**fields)


def screened(**changes: object) -> bytes:
    return write_clear(update_header(**changes), msgpack.encode(UPDATE), f.DEVICE_SIGNING)


def vectors() -> list[bytes]:
    """Each encoding: as it should be, and not finite."""
    whole = np.linspace(-1, 1, 1027, dtype="<f4")
    scales = np.array([0.5, np.nan], "<f4")
    return [
        b"\x00\x00" + VECTOR[:1].tobytes(),
        b"\x00\x01" + np.full(10, np.inf, "<f4").tobytes(),
        b"\x01\x72" + whole.astype("<f2").tobytes(),
        b"\x01\x01" + np.full(10, np.nan, "<f2").tobytes(),
        b"\x02\x72" + np.full(2, 0.5, "<f4").tobytes() + bytes(1027),
        b"\x02\x72" + scales.tobytes() + bytes(1027),
        b"\x02\x00" + np.array([3e38], "<f4").tobytes() + b"\x7f",
        *(b"\x03\x72" + encode(whole, "eden", options_of("eden", bits=bits), 7) for bits in (1, 3)),
        b"\x03\x00" + b"\x01" + bytes(4) + np.array([np.nan], "<f4").tobytes() + b"\x80",
        *(b"\x04\x72" + encode(whole, "topk", options_of("topk", share=share)) for share in (0.01, 0.5)),
        b"\x04\x01" + b"\xff" * 4 + bytes(8),
        b"\x05\x72" + encode(whole, "int4"),
        b"\x05\x72" + scales.tobytes() + bytes(516),
        b"\x05\x00" + np.array([1.0], "<f4").tobytes() + b"\x80" * 4,
        b"\x06\x72" + encode(whole, "sign"),
        b"\x06\x00" + np.array([np.inf], "<f4").tobytes() + b"\x80",
    ]


def bodies(value: object) -> list[bytes]:
    whole = msgpack.encode(value)
    return [whole, whole[:-1], b"\xff" + whole[1:], NESTED, HUGE]


def admissions() -> list[bytes]:
    half, int8 = VECTOR.astype("<f2").tobytes(), np.array([0.5], "<f4").tobytes() + b"\x01\x02\xff\x00"
    eden, topk, int4, sign = (encode(VECTOR, name, options_of(name)) for name in ("eden", "topk", "int4", "sign"))
    nan, samples = np.full(4, np.nan, "<f4").tobytes(), 2**63
    return [
        b"\x00\x01" + msgpack.encode(UPDATE),
        b"\x01\x02" + msgpack.encode(m.Update(5, 1, 2.5, half, b"", "")),
        b"\x02\x03" + msgpack.encode(m.Update(5, 1, 2.5, int8, METRICS, "")),
        b"\x03\x00" + msgpack.encode(m.Update(2, 0, 0.0, MOMENTS, b"", "")),
        b"\x04\x00" + msgpack.encode(m.Update(0, 0, 0.0, b"", METRICS, "")),
        b"\x00\x01" + msgpack.encode(DECLINED),
        b"\x00\x02" + msgpack.encode(UPDATE),
        b"\x00\x01" + msgpack.encode(m.Update(samples, 1, float("nan"), nan, METRICS, "")),
        b"\x00\x01" + HUGE_BYTES,
        b"\x05\x04" + msgpack.encode(m.Update(5, 1, 2.5, eden, METRICS, "")),
        b"\x06\x05" + msgpack.encode(m.Update(5, 1, 2.5, topk, METRICS, "")),
        b"\x07\x03" + msgpack.encode(m.Update(5, 1, 2.5, int8, METRICS, "", 0.5, int8)),
        b"\x07\x03" + msgpack.encode(m.Update(5, 1, 2.5, int8, b"", "", float("nan"), int8)),
        b"\x07\x03" + msgpack.encode(m.Update(5, 1, 2.5, int8, b"", "", 0.5, int8[:-1])),
        b"\x00\x01" + msgpack.encode(m.Update(5, 1, 2.5, VECTOR.tobytes(), METRICS, "", 0.5, VECTOR.tobytes())),
        b"\x08\x06" + msgpack.encode(m.Update(5, 1, 2.5, int4, METRICS, "")),
        b"\x09\x07" + msgpack.encode(m.Update(5, 1, 2.5, sign, METRICS, "")),
    ]


MISSING = m.Missing(bytes(16), b"\x80\x40")
QUESTION = Transfer(bytes(16), 10, 5000).question()


def streams_up() -> list[bytes]:
    plain = msgpack.encode(UPDATE)
    long = msgpack.encode(m.Update(0, 0, 0.0, b"", b"", "x" * m.MAX_TEXT))
    frames = split(write_clear(update_header(), long, f.DEVICE_SIGNING), 542)
    return [
        piece(2 | 1 << 4, plain),
        piece(1 | 1 << 4, plain),
        piece(0, screened()),
        piece(2 | 1 << 4, plain) + piece(2 | 2 << 4, plain) + piece(2, NESTED[:600]),
        b"".join(piece(0, frame) for frame in frames),
        piece(0, QUESTION) + piece(2 | 1 << 4, plain) + piece(0, QUESTION),
    ]


def streams_down() -> list[bytes]:
    manifest, task = piece(1, msgpack.encode(MANIFEST)), piece(2, msgpack.encode(TASK))
    return [
        manifest + task + piece(4, CHUNK),
        piece(1, msgpack.encode(DONE)) + task,
        task + manifest,
        manifest + piece(3, msgpack.encode(RECEIPT)),
        piece(5, b"fedloom/" + f.FEDERATION.hex().encode() + b"/all/model/00/1"),
        piece(0, HUGE + NESTED[:200]),
        manifest + piece(6, msgpack.encode(MISSING)),
    ]


def downloads() -> list[bytes]:
    content = bytes(range(250))
    return [
        struct.pack(">HHB", size, len(content), lie) + content
        for size, lie in ((100, 254), (250, 254), (100, 1), (1, 3))
    ]


def models() -> list[bytes]:
    weights = VECTOR.tobytes()
    return [
        b"\x02\x04\x00" + weights,
        b"\x02\x04\x02" + weights + bytes(8),
        b"\x02\x01\x00" + np.array([np.nan], "<f4").tobytes(),
        b"\x06\x04\x00" + weights + weights,
        b"\x06\x04\x02" + weights + bytes(8) + weights,
        b"\x06\x04\x00" + weights,
        b"\x01\x04\x00" + weights,
        b"\x02\x05\x00" + weights,
    ]


def seeds() -> dict[str, list[bytes]]:
    manifest, presence = msgpack.encode(MANIFEST), msgpack.encode(PRESENCE)
    signed = write_clear(update_header(type=Type.MANIFEST, encoding=0), manifest, f.AGGREGATOR_SIGNING)
    hello = write_clear(Header(Type.PRESENCE, f.FEDERATION, f.DEVICE, bytes(16)), presence, f.DEVICE_SIGNING)
    frames = split(bytes(range(256)) * 8, 900)
    federation, device = f.FEDERATION.hex().encode(), f.DEVICE.hex().encode()
    return {
        "envelope": [hello, hello[:-1], screened(), signed, hello[:4] + b"\x01" + hello[5:], hello[:156] + b"\xff" * 4],
        "manifest_body": [*bodies(MANIFEST), msgpack.encode(DONE)],
        "brief_body": bodies(BRIEF),
        "task_body": bodies(TASK),
        "update_body": [*bodies(UPDATE), msgpack.encode(DECLINED), HUGE_BYTES],
        "receipt_body": bodies(RECEIPT),
        "presence_body": bodies(PRESENCE),
        "enrol_body": bodies(ENROL),
        "membership_body": bodies(MEMBERSHIP),
        "frames": [
            b"".join(piece(1, frame) for frame in frames),
            b"".join(piece(number, frame) for number, frame in enumerate(frames)),
            piece(1, frames[0][:20] + b"\0\0\xff\xff\xff\xff\xff\xff"),
            piece(1, b"FLF\x02" + frames[0][4:200]),
        ],
        "missing_body": bodies(MISSING),
        "question": [QUESTION + b"\x80\x40", QUESTION + b"\x80\x01", QUESTION[:25], b"FLF" + QUESTION[3:]],
        "download": downloads(),
        "topics": [
            b"\x00d/" + device + b"/up",
            b"\x01all/model/" + f.MANIFEST.hex().encode() + b"/12",
            b"\x02enrol/" + device + b"/up",
            b"\x03all/root/2",
            b"\x08fedloom/" + federation + b"/d/" + device.upper() + b"/up",
            b"\x03all/root/\xd9\xa3",
        ],
        "encoding": vectors(),
        "model": models(),
        "app_request": bodies(APP_REQUEST)[:2],
        "app_reply": [
            msgpack.encode(records.Reply(CONTENT)),
            msgpack.encode(records.Reply(None, 2, "ValueError")),
            msgpack.encode(records.Reply({"m": records.MetricRecord({"loss": float("nan")})})),
            TOO_MANY,
        ],
        "values": [
            TOO_MANY,
            HUGE,
            msgpack.encode(records.Reply(CONTENT)),
            msgpack.encode([0, 200, -1, -200, 2**16, 2**32, -(2**63), 0.5, None, True, {"k" * 40: [{}, [0] * 20]}]),
            msgpack.encode({"": b"", "b": bytes(300), "t": "t" * 300, "m": {f"{n}": n for n in range(20)}}),
            b"\x98\xca"
            + bytes(4)
            + b"\xd1\1\0\xd2\1\0\0\0\xd6\1"
            + bytes(4)
            + b"\xd4\1\0\xc7\3\1abc\xd8\1"
            + bytes(16)
            + b"\7",
        ],
        "brief": bodies(BRIEF),
        "once": [seal_once(b"plain", f.BRIEF_KEY, b"fedloom/1/brief"), b""],
        "root": [f.ROOT_DOCUMENT, f.ROOT_DOCUMENT[:-1], NESTED, HUGE],
        "root_signed": bodies(NEXT_ROOT),
        "credential": [f.CREDENTIAL_DOCUMENT, f.CREDENTIAL_DOCUMENT[:-1], NESTED, HUGE],
        "credential_signed": bodies(f.CREDENTIAL),
        "presence": [b"\x01" + presence, b"\x00" + presence, b"\x01" + NESTED, b"\x01\x93\xa5ready\xa1\xff\x00"],
        "screening": [
            screened(),
            screened(round=1, manifest=bytes(32)),
            screened(round=3),
            screened(job=bytes(16)),
            screened(type=Type.TASK),
        ],
        "admission": admissions(),
        "intake": streams_up(),
        "manifest": [b"\x00" + manifest, b"\x01" + signed, b"\x08" + manifest, b"\x00" + NESTED],
        "down": [
            b"\x00" + msgpack.encode(TASK),
            b"\x02" + msgpack.encode(RECEIPT),
            b"\x01" + hello,
            b"\x00" + NESTED,
            b"\x04" + msgpack.encode(MISSING),
        ],
        "session": streams_down(),
        "token": [TOKEN.encode(), f" {TOKEN[:50]}\n{TOKEN[50:]}".encode(), TOKEN[:-1].encode(), PREFIX.encode()],
        "token_checked": [_token_body(), _token_body()[:-1], b"\x02" + _token_body()[1:]],
        "request": [REQUEST, REQUEST[:-1], REQUEST.replace(b"\x02\x01\x00", b"\x02\x01\x08", 1)],
        "enrolment": [
            b"\x00" + msgpack.encode(ENROL),
            b"\x01" + msgpack.encode(ENROL),
            b"\x00" + NESTED,
            b"\x00" + HUGE,
        ],
        "membership": [msgpack.encode(MEMBERSHIP), *bodies(REFUSED)],
        "certificate": [
            f.CERTIFICATE,
            f.CA,
            f.CERTIFICATE[:-1],
            f.CERTIFICATE.replace(b"\x02\x01\x02", b"\x02\x01\x08", 1),
        ],
    }


def _token_body() -> bytes:
    import base64

    return base64.urlsafe_b64decode(TOKEN[len(PREFIX) :] + "==")[:-4]


def write(corpus: Path = CORPUS) -> int:
    """Returns how many files there are now."""
    for target, contents in seeds().items():
        (corpus / target).mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(contents):
            (corpus / target / f"seed-{number:02}").write_bytes(content)
    return sum(path.is_file() for path in corpus.rglob("*"))


if __name__ == "__main__":
    print(f"{write()} files in {CORPUS}")
