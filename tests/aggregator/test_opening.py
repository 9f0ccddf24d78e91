"""What a round is opened with. A key seals one message: AES-GCM with a constant nonce forgives no second one."""

from aggregator import events as ev
from fedloom.wire.messages import Manifest, Phase


def test_every_round_every_brief_and_every_model_has_a_key_of_its_own(make_rig):
    rig = make_rig(standardise="true", count=3)
    rig.boot()
    rig.ready()
    rig.work()
    device = rig.devices[0]
    manifests: list[Manifest] = []
    keys: dict[str, list[bytes]] = {"round": [], "brief": [], "model": []}
    while not rig.finished:
        manifests.append(device.manifest)
        keys["round"].append(device.manifest.round_key)
        keys["brief"].append(device.task().brief_key)
        keys["model"].append(device.task().model_key)
        rig.answer_all()
        rig.leave_if_done()
    assert [manifest.phase for manifest in manifests] == [Phase.STATISTICS, *[Phase.TRAIN] * 3, Phase.EVALUATE]
    assert keys["model"].pop(0) == b""  # the statistics round has no model
    assert all(len(set(each)) == len(each) for each in keys.values())
    assert len({each for group in keys.values() for each in group}) == 5 + 5 + 4


def test_a_round_that_is_tried_again_has_a_new_key_and_the_sealed_model_the_old_one(rig):
    device = rig.devices[0]
    manifest, task = device.manifest, device.task()
    rig.now_s += 60.0
    rig.handle(ev.Tick())
    rig.work()
    again = device.task()
    assert (device.manifest.round, device.manifest.attempt) == (1, 2)
    assert device.manifest.model == manifest.model
    assert again.model_key == task.model_key  # the same bytes: nothing else is sealed with it
    assert again.brief_key != task.brief_key
    assert device.manifest.round_key != manifest.round_key


def test_devices_are_told_whether_to_keep_what_an_encoding_loses(make_rig):
    rig = make_rig(encoding="int8")
    assert rig.config.job.read_text().count("[update]\n") == 1
    rig.config.job.write_text(rig.config.job.read_text().replace("[update]\n", "[update]\nerror_feedback = false\n"))
    rig.boot()
    rig.ready()
    rig.work()
    assert not rig.devices[0].brief().error_feedback
