"""The aggregator's key changes between two runs: a round in flight finishes, and a finished job stays to be had."""

import pytest

from aggregator import keys
from aggregator.notices import Done, RoundClosed
from aggregator.roots import changes as root_changes
from fedloom import msgpack
from fedloom.errors import Refused
from fedloom.trust.documents import open_next_root, open_root, sha256
from fedloom.trust.signing import VerifyingKey
from fedloom.wire import envelope
from fedloom.wire.messages import Manifest, Phase, Verdict


def rotate(rig):
    """Between two runs, as an operator does; returns the new key."""
    if rig.parts is not None:
        rig.crash()
    root_changes.rotate(rig.state)
    rig.sent.clear()
    return VerifyingKey(keys.load(rig.state).signing.public)


def sent_on(rig, topic):
    return [each.payload for each in rig.sent if each.topic == topic]


def is_by(blob, key):
    try:
        envelope.parse(blob, 2**20).verify(key)
    except Refused:
        return False
    return True


def test_all_root_documents_are_published_before_the_manifest(rig):
    rotate(rig)
    rotate(rig)
    rig.boot()
    topics = rig.devices[0].topics
    first = [each.topic for each in rig.sent[:3]]
    assert first == [topics.root(number) for number in (1, 2, 3)]
    assert all(each.retain for each in rig.sent[:3])
    documents = [each.payload for each in rig.sent[:3]]
    root = open_root(documents[0], sha256(documents[0]).digest())
    for document in documents[1:]:
        root = open_next_root(document, root)
    assert root == keys.load(rig.state).root
    assert topics.manifest in [each.topic for each in rig.sent[3:]]


def test_root_documents_are_published_where_no_round_is_open(make_rig):
    rig = make_rig()
    rig.boot()
    assert [each.topic for each in rig.sent] == [rig.devices[0].topics.root(1)]


def test_a_round_in_flight_finishes(rig):
    """The manifest is the same, byte for byte, for devices accept it by its hash; all else comes from the new key."""
    device, manifest = rig.devices[0], rig.retained[rig.devices[0].topics.manifest]
    first = device.update()
    rig.send(device, first)
    rig.work()
    new = rotate(rig)
    rig.boot()
    assert sent_on(rig, device.topics.manifest) == [manifest]
    assert not is_by(manifest, new)
    said = sent_on(rig, device.topics.down(device.id))
    rig.send(device, first)  # whose receipt was lost, perhaps
    for each in rig.devices[1:]:
        rig.send(each, each.update())
    rig.work()
    said += sent_on(rig, device.topics.down(device.id))
    assert said
    assert all(is_by(each, new) for each in said)
    assert [verdict for each in rig.devices for verdict in set(rig.verdicts(each))] == [Verdict.ACCEPTED] * 3
    assert [(each.round, each.outcome, each.accepted) for each in rig.told(RoundClosed)] == [(1, "done", 3)]
    rig.ready()
    rig.work()
    following = rig.retained[device.topics.manifest]
    assert is_by(following, new)
    assert msgpack.decode(envelope.parse(following, 2**20).clear(), Manifest).previous == sha256(manifest).digest()
    rig.finish_job()
    assert rig.told(Done)


def test_a_finished_job_is_said_anew_once(make_rig):
    """A device that comes later has only the new root, which does not vouch for who signed the last manifest."""
    rig = make_rig()
    rig.boot()
    rig.ready()
    rig.finish_job()
    device = rig.devices[0]
    before, version = rig.retained[device.topics.manifest], device.manifest.version
    new = rotate(rig)
    rig.boot()
    rig.work()
    again = rig.retained[device.topics.manifest]
    assert is_by(again, new)
    assert (device.manifest.phase, device.manifest.version) == (Phase.DONE, version + 1)
    assert device.manifest.previous == sha256(before).digest()
    assert device.manifest.model == msgpack.decode(envelope.parse(before, 2**20).clear(), Manifest).model
    rig.ready(device)
    assert is_by(sent_on(rig, device.topics.down(device.id))[-1], new)
    assert device.task().model_key
    rig.crash()
    rig.boot()
    rig.work()
    assert rig.retained[device.topics.manifest] == again


def test_the_broadcast_is_cleared_neither_before_nor_after_it_is_said_anew(make_rig):
    rig = make_rig()
    rig.boot()
    rig.ready()
    rig.finish_job()
    rotate(rig)
    rig.boot()
    rig.work()
    model = rig.devices[0].manifest.model
    chunks = [rig.devices[0].topics.chunk(model.cipher_hash, number) for number in range(len(model.chunk_hashes))]
    assert all(rig.retained[each] for each in chunks)


@pytest.mark.parametrize("times", [1, 2])
def test_a_rotation_between_two_rounds(make_rig, times):
    rig = make_rig()
    rig.boot()
    rig.ready()
    rig.work()
    rig.answer_all()
    for _ in range(times):
        new = rotate(rig)
    rig.boot()
    rig.ready()
    rig.finish_job()
    assert rig.told(Done)
    assert is_by(rig.retained[rig.devices[0].topics.manifest], new)
