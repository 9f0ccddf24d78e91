"""A federation whose keys are the same in each run, so that a kept corpus keeps its meaning. Nothing is on disk."""

import tomllib
from hashlib import sha256

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aggregator.admission import Gate
from aggregator.fleet import Fleet
from aggregator.keys import AggregatorKeys, RegistrarKeys
from aggregator.records import DeviceRecord, Invitation, RoundRecord
from fedloom import config
from fedloom.job import Job
from fedloom.learning.plan import TrainPlan
from fedloom.trust.certificates import Authority, new_authority, public_key_of
from fedloom.trust.device_keys import DeviceKeys
from fedloom.trust.documents import AggregatorKey, Credential, Registrar, Root, sign_credential, sign_root
from fedloom.trust.seal import Recipient, SealKey, SealSuite
from fedloom.trust.signing import SigningKey
from fedloom.trust.tokens import Broker, TlsMode
from fedloom.wire.messages import Phase
from fedloom.wire.topics import Topics

SUITE = SealSuite.X25519
UTC_S = 1_900_000_000
NEVER = 4_000_000_000
FEDERATION, DEVICE, AGGREGATOR, JOB = b"F" * 16, b"D" * 16, b"A" * 16, b"J" * 16
MANIFEST = sha256(b"manifest").digest()
ROUND, ATTEMPT = 2, 1
TOPICS = Topics(FEDERATION)
BROKER = Broker("hub.example", 8883, TlsMode.FEDERATION)

ROOT_SIGNING, REGISTRAR_SIGNING, AGGREGATOR_SIGNING, DEVICE_SIGNING = (SigningKey(bytes([n] * 32)) for n in range(1, 5))
REGISTRAR, TOKEN = b"R" * 16, b"I" * 16
REGISTRAR_SEAL, DEVICE_SEAL, ROUND_SEAL = (SealKey(SUITE, bytes([n] * 32)) for n in range(5, 8))
DEVICE_RECIPIENT, ROUND_RECIPIENT, REGISTRAR_RECIPIENT = (
    Recipient(SUITE, key.public) for key in (DEVICE_SEAL, ROUND_SEAL, REGISTRAR_SEAL)
)
BRIEF_KEY, MODEL_KEY = b"b" * 32, b"m" * 32


def _tls_key(number: int) -> bytes:
    """A P-256 private key (PEM) that is always the same."""
    return ec.derive_private_key(number, ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


CA_KEY, DEVICE_TLS_KEY = _tls_key(11), _tls_key(12)
CA = new_authority(CA_KEY, "fedloom fuzz", UTC_S)
CERTIFICATE = Authority(CA_KEY, CA).issue(public_key_of(DEVICE_TLS_KEY), DEVICE.hex(), UTC_S, NEVER)

ROOT = Root(
    version=1,
    federation=FEDERATION,
    suite=SUITE,
    root_keys=(ROOT_SIGNING.public,),
    threshold=1,
    registrar=Registrar(REGISTRAR, REGISTRAR_SIGNING.public, REGISTRAR_SEAL.public, CA),
    aggregators=(AggregatorKey(AGGREGATOR, AGGREGATOR_SIGNING.public),),
)
ROOT_DOCUMENT = sign_root(ROOT, ROOT_SIGNING)
REGISTRAR_KEYS = RegistrarKeys(REGISTRAR_SIGNING, REGISTRAR_SEAL, Authority(CA_KEY, CA))
AGGREGATOR_KEYS = AggregatorKeys(AGGREGATOR, AGGREGATOR_SIGNING, REGISTRAR_KEYS, ROOT, (ROOT_DOCUMENT,))
CREDENTIAL = Credential(
    federation=FEDERATION,
    device=DEVICE,
    name="fuzzed",
    signing=DEVICE_SIGNING.public,
    seal=DEVICE_SEAL.public,
    not_before=0,
    not_after=NEVER,
)
CREDENTIAL_DOCUMENT = sign_credential(CREDENTIAL, REGISTRAR_SIGNING)
DEVICE_KEYS = DeviceKeys(DEVICE_SIGNING, DEVICE_SEAL, ROOT, CREDENTIAL, DEVICE_TLS_KEY)

_JOB = """
name = "fuzz"
[model]
inputs = 3
outputs = 1
[data]
features = ["a", "b", "c"]
target = "y"
[training]
loss = "mse"
[rounds]
count = 3
devices = 1
[update]
encoding = "{encoding}"
max_norm = 1000.0
max_control_norm = 1000.0
max_samples = 1000
"""


def job(encoding: str = "float32") -> Job:
    """Four weights and an input layer."""
    return config.convert(tomllib.loads(_JOB.format(encoding=encoding)), Job, "fuzz")


def fleet() -> Fleet:
    """Of one device."""
    return Fleet(ROOT, [DeviceRecord(DEVICE, "fuzzed", CREDENTIAL_DOCUMENT, revoked=False, tls_key=b"")])


def gate(phase: Phase = Phase.TRAIN, encoding: str = "float32", plan: TrainPlan | None = None) -> Gate:
    """Of a round that the device is invited to."""
    opened = RoundRecord(
        manifest_version=3,
        manifest_hash=MANIFEST,
        manifest=b"",
        job=JOB,
        round=ROUND,
        attempt=ATTEMPT,
        phase=phase,
        round_key=ROUND_SEAL.private,
        brief_key=BRIEF_KEY,
        model_key=MODEL_KEY,
        model_version=1,
        target=1,
        invitations=(Invitation(DEVICE, train=phase is Phase.TRAIN, evaluate=phase is not Phase.STATISTICS),),
    )
    return Gate(fleet(), ROOT, job(encoding), opened, max_update_bytes=2**20, plan=plan)
