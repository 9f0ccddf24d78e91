"""Personal jobs on the aggregator: what is shared alone is fused, and both models' figures pass the same checks."""

import json

import numpy as np
import pytest
from moments import MomentsStrategy

import strategies
from aggregator.admission import believe, examine, screen
from aggregator.report import describe
from fedloom.command import main
from fedloom.errors import ConfigError, Reason, Refused
from fedloom.job import load_job
from fedloom.wire.encoding import encode
from fedloom.wire.messages import Phase, Update
from strategies import Fused, create_for

SHARED, HEAD = 3 * 4 + 4, 4 * 1 + 1
GOOD = np.array([2.0, 1.0, 4.0, 2.0, 3.0, 5.0])
BETTER = np.array([2.0, 0.5, 1.0, 1.0, 3.0, 5.0])
"""[samples, Σ loss, Σe², Σ|e|, Σy, Σy²]."""


class Restless(MomentsStrategy, frozen=True):
    """Moves every weight that it is shown, whatever the updates say."""

    def fuse(self, weights, updates, state):
        assert weights.size == SHARED
        return Fused(weights + np.float32(1.0), state)


@pytest.fixture
def personal_rig(make_rig, monkeypatch):
    """A rig whose job is personal; a model of 16 weights and a head of 5."""
    monkeypatch.setitem(strategies.registry.WHOLE, "restless", Restless)

    def make(method, more="", **settings):
        rig = make_rig(**settings)
        path = rig.config.job
        text = path.read_text().replace("outputs = 1", "outputs = 1\nhidden = [4]")
        path.write_text(f'{text}\n[personal]\nmethod = "{method}"\n{more}')
        return rig

    return make


def begun(rig):
    rig.boot()
    rig.ready()
    rig.work()
    return rig


def answer(phase, metrics, size=SHARED, encoding="float32"):
    sums = np.concatenate(metrics).astype("<f8").tobytes() if metrics else b""
    if phase is not Phase.TRAIN:
        return Update(0, 0, 0.0, b"", sums, "")
    return Update(1, 1, 0.5, encode(np.ones(size, np.float32), encoding), sums, "")


def answer_all(rig, metrics, **how):
    for device in rig.devices:
        rig.send(device, device.update(answer(device.manifest.phase, metrics(device.manifest.phase), **how)))
    rig.work()


@pytest.mark.parametrize("encoding", ["float32", "int8"])
def test_no_rule_ever_sees_a_head(personal_rig, encoding):
    rig = begun(personal_rig("head", '[strategy]\nname = "restless"', encoding=encoding))
    before = rig.parts.core.coordinator._progress.model.weights
    answer_all(rig, lambda phase: (GOOD, BETTER), encoding=encoding)
    after = rig.parts.core.coordinator._progress.model.weights
    assert np.array_equal(after[:SHARED], before[:SHARED] + np.float32(1.0))
    assert np.array_equal(after[SHARED:], before[SHARED:])
    assert after.size == SHARED + HEAD


def refused(rig, update):
    gate, device = rig.parts.core.coordinator._intake._gate, rig.devices[0]
    candidate = screen(device.topics.up(device.id), device.update(update), gate)
    believe(candidate)
    with pytest.raises(Refused) as refusal:
        examine(candidate, gate, rig.utc_s)
    return refusal.value


@pytest.mark.parametrize(
    ("metrics", "detail"),
    [
        ((GOOD,), "48 bytes, 96 expected"),
        ((GOOD, BETTER, BETTER), "144 bytes, 96 expected"),
        ((GOOD, BETTER * np.nan), "not finite"),
        ((GOOD, BETTER * -1), "negative"),
        ((GOOD, BETTER * 2), "not evaluated on the same samples"),
        ((GOOD * 1000, BETTER * 1000), "2000 samples, 1000 allowed"),
    ],
)
def test_the_figures_of_a_personal_model_are_held_to_the_same_checks(personal_rig, metrics, detail):
    found = refused(begun(personal_rig("ditto")), answer(Phase.TRAIN, metrics, SHARED + HEAD))
    assert (found.reason, detail in found.detail) == (Reason.BAD_METRICS, True), found.detail


@pytest.mark.parametrize("size", [SHARED + HEAD, SHARED - 1])
def test_an_update_with_more_than_what_is_shared_is_refused(personal_rig, size):
    found = refused(begun(personal_rig("head")), answer(Phase.TRAIN, (GOOD, BETTER), size))
    assert found.reason in (Reason.WRONG_LENGTH, Reason.TOO_LARGE)


def test_both_figures_are_shown_beside_each_other(personal_rig, capsys):
    rig = begun(personal_rig("ditto", "strength = 0.5"))
    assert rig.devices[0].brief().personal.strength == 0.5
    while rig.devices[0].manifest.phase is not Phase.DONE:
        answer_all(rig, lambda phase: (GOOD, BETTER), size=SHARED + HEAD)
    lines = [describe(notice) for notice in rig.notices]
    assert [line for line in lines if line.endswith(" | loss 0.5, mse 2, mae 1, personal loss 0.25")]
    config = rig.directory / "aggregator.toml"
    config.write_text('job = "job.toml"\n[broker]\nhost = "localhost"\n')

    def command(*words):
        with pytest.raises(SystemExit) as end:
            main([*words, "--config", str(config)])
        assert not end.value.code
        return capsys.readouterr().out

    assert "personal loss 0.25, personal mse 0.5" in command("round", "show", "line", "1")
    (attempt,) = json.loads(command("round", "show", "line", "1", "--json"))
    assert (attempt["metrics"]["mse"], attempt["metrics"]["personal_mse"]) == (2.0, 0.5)
    listed = json.loads(command("round", "list", "line", "--json"))
    assert {each["metrics"]["personal_loss"] for each in listed if each["metrics"]} == {0.25}
    assert json.loads(command("round", "verify", "line", "2", "--json"))["outcome"] == "identical"


def test_a_fine_tuned_model_is_measured_in_the_final_evaluation_alone(personal_rig):
    rig = begun(personal_rig("fine_tune"))
    seen = []
    while rig.devices[0].manifest.phase is not Phase.DONE:
        seen.append(rig.devices[0].manifest.phase)
        is_final = seen[-1] is Phase.EVALUATE
        assert refused(rig, answer(seen[-1], (GOOD,) if is_final else (GOOD, BETTER), SHARED + HEAD))
        answer_all(rig, lambda phase: (GOOD, BETTER) if phase is Phase.EVALUATE else (GOOD,), size=SHARED + HEAD)
    assert seen == [Phase.TRAIN, Phase.TRAIN, Phase.EVALUATE]
    figures = [notice.metrics for notice in rig.notices if getattr(notice, "metrics", None)]
    assert ["personal_loss" in each for each in figures][:3] == [False, False, True]


def test_a_job_stops_by_the_personal_figure(personal_rig):
    rig = personal_rig("head", count=9, patience=2)
    path = rig.config.job
    path.write_text(path.read_text().replace("patience = 2", 'patience = 2\nmetric = "personal_loss"'))
    begun(rig)
    rounds = 0
    while rig.devices[0].manifest.phase is Phase.TRAIN:
        rounds += 1
        worse = np.array(
            [2.0, 1.0 / rounds, 4.0, 2.0, 3.0, 5.0]
        )  # the federation's loss falls; the devices' own do not
        answer_all(rig, lambda phase, worse=worse: (worse, BETTER))
    assert rounds == 3


@pytest.mark.parametrize("name", ["scaffold", "feddyn", "fltrust"])
def test_what_needs_a_whole_model_is_refused_beside_a_head(personal_rig, name):
    rig = personal_rig("head", f'[strategy]\nname = "{name}"')
    with pytest.raises(ConfigError, match=r"personal.method: 'head' leaves weights on the devices.*choose 'ditto'"):
        create_for(load_job(rig.config.job), "job.toml")


def test_a_state_of_shared_weights_that_never_changed_needs_no_spool_to_be_made_again(personal_rig):
    rig = begun(personal_rig("head", '[strategy]\nname = "fedavgm"', evaluate=0.0))
    for device in rig.devices:
        rig.send(device, device.update(Update(1, 1, 0.5, encode(np.zeros(SHARED, np.float32), "float32"), b"", "")))
    rig.work()
    rig.crash()
    (state,) = rig.state.rglob("*.state")
    kept = state.read_bytes()
    for path in (state, *rig.state.rglob("*.spool")):
        path.unlink()
    rig.boot()
    assert state.read_bytes() == kept
