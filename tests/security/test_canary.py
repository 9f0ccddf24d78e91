"""A hostile broker keeps every byte of a run. It finds no weight, no sample, no label and no key in them."""

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from aggregator.keys import load as load_aggregator_keys
from fedloom import msgpack
from fedloom.learning.model_file import load
from fedloom.wire.envelope import MAGIC
from fedloom.wire.messages import Update
from simulation.history import History, record

LABELS = ("canary-healthy", "canary-arrhythmia")
FEATURES = ("canary-pulse", "canary-oxygen")
JOB = f"""
name = "canary-job"
seed = 3
[model]
inputs = 2
outputs = 2
hidden = [16]
[data]
features = {list(FEATURES)}
target = "canary-diagnosis"
classes = {list(LABELS)}
[training]
loss = "cross_entropy"
[rounds]
count = 3
devices = 2
[update]
encoding = "ENCODING"
"""


def write_data(path, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(80, 2))
    rows = [f"{a:.7f},{b:.7f},{LABELS[int(a + b > 0)]}" for a, b in x]
    path.write_text("\n".join([",".join((*FEATURES, "canary-diagnosis")), *rows]))
    return path, x.astype(np.float32)


def pieces(secret, size=12):
    """Stretches of a secret, each long and varied enough not to occur by chance."""
    stretches = [secret[start : start + size] for start in range(0, len(secret) - size + 1, size)]
    return [stretch for stretch in stretches if len(set(stretch)) >= 6]


def updates_in(segment):
    """The plain updates that the aggregator has on its disk: see aggregator/spool.py."""
    data = segment.read_bytes()[4:]
    while data:
        length = int.from_bytes(data[:4], "big")
        yield msgpack.decode(data[8 + 17 : 8 + length], Update)
        data = data[8 + length :]


def broadcast_keys(database):
    """The keys of everything that is sealed once for all devices."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("select brief_key, model_key from rounds").fetchall()
    assert len(rows) >= 4
    return [key for row in rows for key in row if key]


def found(secrets, streams):
    return [
        (name, part.hex()) for name, secret in secrets for part in pieces(secret) if any(part in s for s in streams)
    ]


@pytest.mark.parametrize("encoding", ["float32", "float16", "int8"])
def test_nothing_that_matters_crosses_the_broker_in_clear(tapped_fleet, tmp_path, encoding):
    (tmp_path / "job.toml").write_text(JOB.replace("ENCODING", encoding))
    files, samples = zip(*(write_data(tmp_path / f"{number}.csv", number) for number in (1, 2)), strict=True)
    history = History()
    with tapped_fleet(tmp_path / "fleet", tmp_path / "job.toml", files) as fleet:
        for _ in record(fleet.notices(30), history):
            pass
        fleet.wait()
        streams = fleet.tap.captured()
    assert any(MAGIC in stream for stream in streams)  # the tap does see the messages
    assert len(streams) >= 6  # aggregator and two devices, both ways

    state = tmp_path / "fleet" / "aggregator"
    model = load(Path(history.model_path))
    updates = [update for segment in (state / "spool").rglob("*.spool") for update in updates_in(segment)]
    assert len(updates) >= 6
    keys = load_aggregator_keys(state)
    secrets = [
        ("weights", model.weights.tobytes()),
        ("input layer", model.standardiser.shift.tobytes() + model.standardiser.scale.tobytes()),
        ("aggregator key", keys.signing.private),
        ("registrar key", keys.registrar.signing.private),
        ("enrolment key", keys.registrar.seal.private),
        *(("update", update.vector) for update in updates),
        *(("metrics", update.metrics) for update in updates),
        *(("samples", each.tobytes()) for each in samples),
        *((path.name, path.read_bytes()) for path in (tmp_path / "fleet").rglob("*.key")),
        *(("key of a brief or model", key) for key in broadcast_keys(state / "aggregator.db")),
        *(("name", name.encode()) for name in (*LABELS, *FEATURES, "canary-diagnosis", "canary-job")),
    ]
    assert sum(len(pieces(secret)) for _, secret in secrets) > 100
    assert found(secrets, streams) == []
    assert found([("positive control", b"canary-fedloom")], [b"xx" + b"canary-fedloom"]) != []


def test_logs_hold_no_secret_either(tapped_fleet, tmp_path):
    """Not even at the most talkative level."""
    (tmp_path / "job.toml").write_text(JOB.replace("ENCODING", "float32"))
    files, _ = zip(*(write_data(tmp_path / f"{number}.csv", number) for number in (1, 2)), strict=True)
    with tapped_fleet(tmp_path / "fleet", tmp_path / "job.toml", files) as fleet:
        for _ in fleet.notices(30):
            pass
        fleet.wait()
    logs = b"".join(path.read_bytes() for path in (tmp_path / "fleet").glob("*.log"))
    keys = [path.read_bytes() for path in (tmp_path / "fleet").rglob("*.key")]
    assert len(keys) >= 7
    for key in keys:
        assert key not in logs
        assert key.hex().encode() not in logs
