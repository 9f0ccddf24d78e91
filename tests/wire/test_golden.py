"""Golden bytes: what is written today must be read for ever, and must not change unnoticed."""

from hashlib import sha256

import numpy as np
import pytest

from fedloom import msgpack
from fedloom.job.data import Data
from fedloom.learning.personal import Personal
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Standardiser
from fedloom.trust.documents import AggregatorKey, Credential, Registrar, Root, sign_credential, sign_root
from fedloom.trust.seal import SealKey, SealSuite
from fedloom.trust.signing import SigningKey, VerifyingKey
from fedloom.trust.tokens import Broker, TlsMode, Token, read_token, write_token
from fedloom.wire.brief import open_brief, seal_brief
from fedloom.wire.envelope import Header, Type, parse, write_clear
from fedloom.wire.messages import (
    Admission,
    Brief,
    Capabilities,
    Closed,
    Enrol,
    Manifest,
    Membership,
    Missing,
    ModelRef,
    Phase,
    Presence,
    Receipt,
    Task,
    Update,
    Verdict,
)
from fedloom.wire.model_blob import open_model, plain_model, seal_model

SIGNER = SigningKey(bytes(range(32)))

BRIEF = Brief("line", ModelSpec(1, 1), Data(("x",), "y"), TrainPlan("mse"), "int8", 7, personal=Personal("ditto"))

BODIES = {
    "task": (
        Task(True, False, brief_key=b"B" * 32, model_key=b"K" * 32, counted=b"D" * 32, max_update_bytes=2**26),
        "96"  # an array of six
        "c3"  # train: true
        "c2"  # evaluate: false
        "c420" + "42" * 32 +  # brief_key: 32 bytes
        "c420" + "4b" * 32 +  # model_key: 32 bytes
        "c420" + "44" * 32 +  # counted: the hash of an update
        "ce04000000",  # max_update_bytes: 64 MiB
    ),
    "update": (
        Update(600, 60, train_loss=1.5, vector=b"\1\2", metrics=b"\3", declined="", loss=2.0, control=b"\4\5"),
        "98"  # an array of eight
        "cd0258"  # samples: 600
        "3c"  # steps: 60
        "cb3ff8000000000000"  # train_loss: 1.5
        "c4020102"  # vector: 2 bytes
        "c40103"  # metrics: 1 byte
        "a0"  # declined: empty
        "cb4000000000000000"  # loss: 2.0
        "c4020405",  # control: 2 bytes
    ),
    "receipt": (
        Receipt(b"D" * 32, Verdict.LATE, "round 3 is closed", 600),
        "94"  # an array of four
        "c420" + "44" * 32 + "a4" + b"late".hex() + "b1" + b"round 3 is closed".hex() +  # digest, verdict, reason
        "cd0258",  # come_back_s: 600
    ),
    "missing": (
        Missing(b"T" * 16, b"\xa0"),
        "92"  # an array of two
        "c410" + "54" * 16 + "c401a0",  # transfer, frames: the first and the third are missing
    ),
    "presence": (
        Presence("ready", "0.1.0", 2_000_000_000),
        "93" + "a5" + b"ready".hex() + "a5" + b"0.1.0".hex() + "ce77359400",  # state, software, not_after
    ),
    "manifest": (
        Manifest(
            3, b"P" * 32, b"J" * 16, 2, 1, Phase.TRAIN, Closed(1, 1, "done"), SealSuite.X25519, b"R" * 32, 60.0, 20,
            1_900_000_000, b"sealed", ModelRef(1, b"p" * 32, b"c" * 32, 24, 98304, (b"c" * 32,), b"v" * 32),
        ),
        "9e"  # an array of 14
        "03"  # version: 3
        "c420" + "50" * 32 +  # previous: the hash of manifest 2
        "c410" + "4a" * 16 +  # job
        "0201"  # round 2, attempt 1
        "a5" + b"train".hex() +  # phase
        "930101a4" + b"done".hex() +  # closes: round 1, attempt 1, done
        "01"  # suite: X25519
        "c420" + "52" * 32 +  # round_key
        "cb404e000000000000"  # deadline_s: 60.0
        "14"  # max_staleness: 20
        "ce713fb300"  # issued_at: 1,900,000,000
        "c406" + b"sealed".hex() +  # brief
        "97"  # model: an array of seven
        "01"  # version
        "c420" + "70" * 32 + "c420" + "63" * 32 +  # plain hash, cipher hash
        "18ce00018000"  # cipher_bytes: 24, chunk_bytes: 98,304
        "91c420" + "63" * 32 +  # chunk_hashes: one
        "c420" + "76" * 32,  # control_hash
    ),
    "enrol": (
        Enrol(b"T" * 32, b"S" * 32, b"H" * 32, b"request", "pump", Capabilities("0.1.0", "aarch64", 4, 2048)),
        "96"  # an array of six
        "c420" + "54" * 32 + "c420" + "53" * 32 + "c420" + "48" * 32 +  # secret, signing, seal
        "c407" + b"request".hex() + "a4" + b"pump".hex() +  # request, name
        "94a5" + b"0.1.0".hex() + "a7" + b"aarch64".hex() + "04cd0800",  # capabilities: software, machine, cpus, MiB
    ),
    "membership": (
        Membership(b"D" * 32, Admission.ACCEPTED, "", b"cred", b"cert", Broker("hub", 8883, TlsMode.FEDERATION)),
        "96"  # an array of six
        "c420" + "44" * 32 + "a8" + b"accepted".hex() + "a0"  # answers, verdict, reason
        "c404" + b"cred".hex() + "c404" + b"cert".hex() +  # credential, certificate
        "93a3" + b"hub".hex() + "cd22b3aa" + b"federation".hex(),  # broker: host, port 8883, tls
    ),
    "brief": (
        BRIEF,
        "99"  # an array of nine
        "a4" + b"line".hex() +  # job_name
        # spec: a map, so that a field that comes later has its default in what was written before
        "85a6696e7075747301a76f75747075747301a668696464656e90aa61637469766174696f6ea472656c75a764726f706f7574"
        "cb0000000000000000"
        # data
        "87a8666561747572657391a178a6746172676574a179a7636c617373657390a667726f75707390a677696e646f77c0"
        "a7686f6c646f757482a86672616374696f6ecb3fc999999999999aa26279a47461696cab7374616e64617264697365c3"
        # plan
        "de0018a46c6f7373a36d7365ad6c6561726e696e675f72617465cb3fb999999999999aa96f7074696d69736572a3736764"
        "a86d6f6d656e74756dcb3feccccccccccccda56265746131cb3feccccccccccccda56265746132cb3feff7ced916872b"
        "a7657073696c6f6ecb3e45798ee2308c3aaa62617463685f73697a6520ac6c6f63616c5f65706f63687301"
        "a96d61785f737465707300a773687566666c65c3a26c31cb0000000000000000a26c32cb0000000000000000"
        "ab70726f78696d616c5f6d75cb0000000000000000a9636c69705f6e6f726dcb0000000000000000"
        "a87363686564756c65a8636f6e7374616e74aa737465705f657665727900ab737465705f666163746f72cb3fe0000000000000"
        "a9746f6c6572616e6365cb0000000000000000a870617469656e636501ab68756265725f64656c7461cb3ff0000000000000"
        "ad636c6173735f7765696768747390aa636f7272656374696f6ea46e6f6e65ac6d6561737572655f6c6f7373c2"
        "a4" + b"int8".hex() + "07" +  # encoding, seed
        "82" "a4" + b"bits".hex() + "00" "a5" + b"share".hex() + "cb0000000000000000"  # options
        # personal
        "85a66d6574686f64a5646974746fa66c617965727301a8737472656e677468cb3fb999999999999a"
        "a665706f63687301ad6c6561726e696e675f72617465cb0000000000000000"
        "c3",  # error_feedback: true
    ),
}  # fmt: skip

ENVELOPE = (
    "464c45" "01" "00" "05" "01" "00"  # magic, version 1, clear, PRESENCE, msgpack, no encoding
    + "46" * 16 + "53" * 16 + "56475aa75463474c"  # federation, sender, sender's key id
    + "00" * 16 + "00" * 8 + "00" * 16  # everybody, no key, no job
    + "00000000" "00000000" + "00" * 32  # round, attempt, manifest
    + "4d" * 16 + "00000001" "0000000000000002" "00000012"  # message id, incarnation 1, sequence 2, 18 bytes
    + "93a57265616479a5302e312e30ce77359400"  # body: presence
    + "63d642d5c567c464bb76a7a050dbe537cb7203fc080052dc591138a1d550a0f0"  # Ed25519 signature
    + "3d2cdaefd005857f34c4b242a06bafd55d23d3f725a0c177fa7765a6f7fa6101"
)  # fmt: skip


SEALED = (
    "464c450101030103464646464646464646464646464646465353535353535353535353535353535356475aa75463474c52525252"
    "525252525252525252525252eedd883da0a945154a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a00000007000000014848484848484848"
    "4848484848484848484848484848484848484848484848484d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d000000010000000000000002"
    "00000007ec80105c17d34e62a518d00b31c83b45091449c9b6627cb8d21fd07b1a61ca7d82b43753b147793aa8d23a3eb3ca8cbe"
    "91cdb4dcb5516107fbc4afea1e11ded9946c44901fe674d765ebfb427b1b517e5fa105c80da0aaec6aa6e34b7bcd854a5476c972"
    "9a236bad365de400254d748dff8e4fb5855d00"
)
ROOT_HASH = "c417a41de6333976793e9adf6a6b9dd262788da0e9e8a98cf0d20536ffcc33e7"
CREDENTIAL_HASH = "65c7f1c3a14dad83c28802e0c8c411049ba24baacd5de2d6083c017dc215c6b0"


@pytest.mark.parametrize("name", sorted(BODIES))
def test_bodies(name):
    message, expected = BODIES[name]
    assert msgpack.encode(message).hex() == expected
    assert msgpack.decode(bytes.fromhex(expected), type(message)) == message


def test_envelope():
    header = Header(Type.PRESENCE, b"F" * 16, b"S" * 16, b"M" * 16, incarnation=1, sequence=2)
    body = msgpack.encode(Presence("ready", "0.1.0", 2_000_000_000))
    assert write_clear(header, body, SIGNER).hex() == ENVELOPE
    envelope = parse(bytes.fromhex(ENVELOPE), 1000)
    envelope.verify(VerifyingKey(SIGNER.public))
    assert envelope.clear() == body


def test_a_sealed_envelope_still_opens():
    """Recorded: sealing is random, so only opening can be compared."""
    envelope = parse(bytes.fromhex(SEALED), 1000)
    envelope.verify(VerifyingKey(SIGNER.public))
    assert envelope.open(SealKey(SealSuite.X25519, bytes(range(32)))) == b"fedloom"
    assert envelope.header.round == 7


def test_root_and_credential():
    root = Root(
        1,
        b"F" * 16,
        SealSuite.HYBRID,
        (SIGNER.public,),
        1,
        Registrar(b"R" * 16, SIGNER.public, b"\3" * 1216, b"\4" * 300),
        (AggregatorKey(b"A" * 16, SIGNER.public),),
    )
    assert sha256(sign_root(root, SIGNER)).hexdigest() == ROOT_HASH
    credential = Credential(b"F" * 16, b"D" * 16, "pump", b"\1" * 32, b"\2" * 32, 1_900_000_000, 2_000_000_000)
    assert sha256(sign_credential(credential, SIGNER)).hexdigest() == CREDENTIAL_HASH


def test_model():
    weights = np.array([1, -2], np.float32)
    standardiser = Standardiser(np.array([0.5], np.float32), np.array([4], np.float32))
    plain = plain_model(weights, standardiser)
    assert plain.hex() == "0000803f000000c00000003f00008040"  # two weights, shift, scale
    sealed = seal_model(plain, 1, b"K" * 32)
    assert sealed.cipher.hex() == "74c9d31d19442571e89127d77f084d3b36d6ba5ee7e5f798dec97e654605cafa"
    opened, read, control = open_model(sealed.cipher, sealed.ref, b"K" * 32, weights=2, inputs=1)
    assert opened.tolist() == [1, -2]
    assert read is not None
    assert (read.shift.tolist(), read.scale.tolist()) == ([0.5], [4.0])
    assert (control, sealed.ref.control_hash) == (None, b"")


def test_model_with_a_control_variate():
    control = np.array([0.25, -0.5], "<f4").tobytes()
    sealed = seal_model(np.array([1, -2], "<f4").tobytes(), 1, b"K" * 32, control=control)
    assert sealed.cipher.hex() == "74c9d31d19442571e891a7d67f08cdc4dab457da1dc69baaedda41aae6527d79"
    assert (sealed.ref.plain_hash, sealed.ref.control_hash) == (
        sha256(np.array([1, -2], "<f4").tobytes()).digest(),
        sha256(control).digest(),
    )
    opened = open_model(sealed.cipher, sealed.ref, b"K" * 32, weights=2, inputs=None)
    assert opened.control is not None
    assert (opened.weights.tolist(), opened.control.tolist()) == ([1, -2], [0.25, -0.5])


def test_brief():
    cipher = seal_brief(BRIEF, b"B" * 32)
    assert sha256(cipher).hexdigest() == "15c665414ba65768fceea7875be5de8aa8cead76a0504d5cb2d760df410e80d8"
    assert open_brief(cipher, b"B" * 32) == BRIEF


TOKEN = (
    "fedloom1.AUZGRkZGRkZGRkZGRkZGRkZJSUlJSUlJSUlJSUlJSUlJU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NSUlJ"
    "SUlJSUlJSUlJSUlJSUlJSUlJSUlJSUlJSUlJSUgAAAAB3NZQAIrQBA2h1YmcgF5w"
)


def test_join_token():
    token = Token(b"F" * 16, b"I" * 16, b"S" * 32, b"R" * 32, 2_000_000_000, Broker("hub", 8884, TlsMode.FEDERATION))
    assert write_token(token) == TOKEN
    assert read_token(TOKEN) == token
