"""A job chooses its devices: by what they have told, which survives the process, and by their labels."""

import msgspec
import numpy as np
import pytest
from sqlalchemy import select

from aggregator import tables as t
from aggregator.enrolment.relabel import relabel
from aggregator.notices import Stalled
from aggregator.records import Standing
from aggregator.store import open_store
from fedloom.command import main
from fedloom.learning.metrics import AUC_BINS, Metrics
from fedloom.wire.messages import Phase, Verdict

CHOICE = 'name = "power-of-choice"\noptions = { candidates = 1000.0 }\n'


def start(rig):
    rig.boot()
    rig.ready()
    rig.work()
    return rig


def restart(rig):
    rig.crash()
    start(rig)


def invited(rig):
    return {device.number for device in rig.devices if device.task() and device.task().train}


def answer(rig, *numbers):
    """The loss of device k is k + 1 a sample, and it has ten."""
    for number in sorted(numbers or invited(rig)):
        device = rig.devices[number]
        plain = device.default_update(device.manifest)
        told = msgspec.structs.replace(plain, samples=10, train_loss=10.0 * (number + 1))
        rig.send(device, device.update(told))
    rig.work()


def known(rig):
    """What the store says of each device, by its number."""
    numbers = {device.id: device.number for device in rig.devices}
    with rig.parts.archive.store.engine.connect() as connection:
        rows = connection.execute(select(*[t.standings.c[name] for name in Standing._fields])).all()
    return {numbers[row.device]: Standing(*row) for row in rows}


def cohorts(rig, disturb=lambda rig: None):
    """Whom each training round invites."""
    drawn = []
    while rig.devices[0].manifest.phase is Phase.TRAIN:
        drawn.append(invited(rig))
        disturb(rig)
        assert invited(rig) == drawn[-1]
        answer(rig)
    return drawn


def test_each_is_asked_once_and_then_the_worst(make_rig):
    rig = start(make_rig(devices=6, cohort=0.5, over_selection=1.0, count=5, choice=CHOICE))
    first, second, *others = cohorts(rig)
    assert first | second == set(range(6))
    assert others == [{3, 4, 5}] * 3


def restart_halfway(rig):
    number = min(invited(rig))
    answer(rig, number)
    restart(rig)


@pytest.mark.parametrize("disturb", [restart, restart_halfway])
@pytest.mark.parametrize("rule", ["power-of-choice", "oort", "samples"])
def test_a_run_that_is_killed_in_every_round_draws_the_same_cohorts(make_rig, tmp_path, rule, disturb):
    settings = {"devices": 6, "cohort": 0.34, "over_selection": 1.0, "count": 6, "standardise": "true"}
    runs = []
    for name, interruption in (("one", lambda rig: None), ("another", disturb)):
        rig = make_rig(directory=tmp_path / name, choice=f'name = "{rule}"', **settings)
        (tmp_path / name).mkdir(exist_ok=True)
        start(rig).answer_all()
        runs.append(cohorts(rig, interruption))
        rig.crash()
    assert runs[0] == runs[1]
    assert len(runs[0]) == 6


def test_what_is_kept_of_a_device(make_rig):
    rig = start(make_rig(devices=3, standardise="true", cohort=0.5, over_selection=1.0, choice=CHOICE))
    rig.answer_all()
    told, other = sorted(invited(rig))
    silent = ({0, 1, 2} - {told, other}).pop()
    assert known(rig)[silent] == Standing(rig.devices[silent].id, 2, class_counts="[]")
    rig.now_s += 5.0
    answer(rig, told)
    asked = Standing(rig.devices[told].id, 2, class_counts="[]", asked=1)
    assert known(rig)[told] == asked._replace(samples=10, loss=told + 1.0, seconds=5.0, answered=1)
    assert known(rig)[other] == asked._replace(device=rig.devices[other].id)
    restart(rig)
    rig.now_s += 5.0
    answer(rig, other)
    assert known(rig)[other].seconds is None  # the round was opened by another process
    assert known(rig)[other].answered == 1


def test_uniform_cohorts_keep_nothing(make_rig):
    rig = start(make_rig(standardise="true"))
    rig.answer_all()
    rig.answer_all()
    assert known(rig) == {}


def test_another_job_begins_with_nothing(make_rig):
    rig = start(make_rig(choice=CHOICE))
    rig.answer_all()
    assert len(known(rig)) == 3
    rig.crash()
    rig.config.job.write_text(rig.config.job.read_text().replace("count = 2", "count = 3"))
    rig.boot()
    assert known(rig) == {}


def test_a_buffer_keeps_what_its_devices_have_told(make_rig):
    rig = start(make_rig(devices=3, count=3, buffer=2, choice=CHOICE))
    answer(rig, 0, 1)
    late = rig.devices[2]
    assert known(rig)[0].answered == 1
    assert known(rig)[2] == Standing(late.id, class_counts="[]", asked=2)


def test_a_loss_that_was_measured_before_training_is_what_counts(make_rig):
    strategy = '[strategy]\nname = "qfedavg"\noptions = { client_learning_rate = 0.1 }\n'
    rig = start(make_rig(choice=CHOICE + strategy))
    device = rig.devices[0]
    told = msgspec.structs.replace(device.default_update(device.manifest), train_loss=0.5, loss=2.5)
    rig.send(device, device.update(told))
    rig.work()
    assert known(rig)[0].loss == 2.5


@pytest.mark.parametrize("is_personal", [False, True])
def test_class_counts_are_read_off_the_evaluation(make_rig, is_personal):
    """3 + 1 samples of the first class, 2 of the second; the vector is fedloom.learning.metrics'."""
    rig = make_rig(choice='name = "class-balance"')
    text = rig.config.job.read_text().replace('"mse"', '"binary_cross_entropy"')
    text += '\n[personal]\nmethod = "ditto"\n' * is_personal
    rig.config.job.write_text(text.replace('target = "y"', 'target = "y"\nclasses = ["no", "yes"]'))
    start(rig)
    device = rig.devices[1]
    metrics = np.zeros(Metrics.length("binary_cross_entropy", 1))
    metrics[:6] = 6.0, 1.5, 3.0, 1.0, 0.0, 2.0
    metrics[6], metrics[6 + AUC_BINS] = 4.0, 2.0
    metrics = np.tile(metrics, 1 + is_personal)
    told = msgspec.structs.replace(device.default_update(device.manifest), metrics=metrics.astype("<f8").tobytes())
    rig.send(device, device.update(told))
    rig.work()
    assert rig.verdicts(device) == [Verdict.ACCEPTED]
    assert known(rig)[1].class_counts == "[4,2]"


def label(rig, number, labels, removed=()):
    """As `fedloom device label` does, beside the running aggregator, which takes notice."""
    with open_store(rig.state) as store:
        relabel(store, rig.devices[number].name, labels, removed)
    if rig.parts:
        rig.handle(rig.parts.archive.changed_fleet())
        rig.work()


NORTH = 'require = ["site=north"]\nexclude = ["battery"]\n'


def test_a_job_takes_only_devices_with_its_labels(make_rig):
    rig = make_rig(devices=4, count=2, choice=NORTH)
    rig.config.job.write_text(rig.config.job.read_text().replace("devices = 4", "devices = 2"))
    for number, labels in enumerate([{"site": "north"}, {"site": "north", "battery": "old"}, {"site": "south"}, {}]):
        label(rig, number, labels)
    start(rig)
    assert rig.told(Stalled) == []
    assert rig.devices[0].manifest is None  # one of two
    label(rig, 1, {}, ["battery"])
    assert invited(rig) == {0, 1}
    rig.finish_job()
    assert [bool(device.tasks) for device in rig.devices] == [True, True, False, False]


def test_a_device_that_loses_its_label_is_out_from_the_next_round(make_rig):
    rig = make_rig(devices=3, count=2, min_updates=1, choice='require = ["site"]')
    for number in range(3):
        label(rig, number, {"site": "north"})
    start(rig)
    label(rig, 2, {}, ["site"])
    answer(rig)  # what it was asked before is taken
    assert invited(rig) == {0, 1}


def test_a_sleeper_that_the_job_does_not_take_is_not_waited_for(make_rig):
    rig = make_rig(devices=3, min_updates=1, choice='require = ["site"]')
    rig.config.job.write_text(rig.config.job.read_text().replace("devices = 3", "devices = 2"))
    for number in range(2):
        label(rig, number, {"site": "north"})
    start(rig)
    rig.leave(rig.devices[2], state="sleeping")
    assert (set(rig.parts.fleet.sleeping), rig.parts.fleet.heard) == (set(), 2)
    label(rig, 2, {"site": "north"})
    assert rig.parts.fleet.heard == 3


def test_a_job_is_checked_with_its_rule_for_cohorts(make_rig, capsys):
    path = make_rig(choice='name = "oor"').config.job
    assert main(["job", "check", str(path)]) == 2
    assert "cohort.name: 'oor' is not known here; did you mean 'oort'?" in capsys.readouterr().err
