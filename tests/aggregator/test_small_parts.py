"""Cohorts, rounds, phases, fleets, first models, notices: the small pure parts."""

import io
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator import cohort, notices, phases
from aggregator.config import AggregatorConfig, load_config
from aggregator.initial import initial_model
from aggregator.notices import AnyNotice, Done, Ready, RoundClosed, RoundOpened, Stalled, Started, UpdateSeen
from aggregator.phases import Step
from aggregator.records import Answer
from aggregator.report import describe, json_lines, text_lines
from aggregator.round import RoundState, fewest_updates
from fedloom.errors import ConfigError
from fedloom.job import load_job
from fedloom.job.rounds import Rounds, Stopping
from fedloom.learning.model import Model
from fedloom.learning.model_file import save
from fedloom.learning.onnx_export import export_onnx
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Standardiser
from fedloom.wire.messages import Phase, Verdict

IDS = [bytes([number]) * 16 for number in range(40)]


@given(
    ready=st.lists(st.sampled_from(IDS), min_size=1, unique=True),
    share=st.floats(0.01, 1.0),
    over=st.floats(1.0, 3.0),
    evaluate=st.floats(0.0, 1.0),
    seed=st.integers(0, 99),
)
def test_a_cohort_is_a_seeded_draw(ready, share, over, evaluate, seed):
    rounds = Rounds(count=1, cohort=share, over_selection=over, evaluate=evaluate)
    drawn = cohort.choose(Phase.TRAIN, ready, rounds, (seed, 1))
    assert drawn == cohort.choose(Phase.TRAIN, ready[::-1], rounds, (seed, 1))
    invited = [each.device for each in drawn.invitations]
    assert invited == sorted(set(invited) & set(ready))
    assert 1 <= drawn.target <= len(invited) <= len(ready)
    assert sum(each.evaluate for each in drawn.invitations) == (
        max(1, int(np.ceil(evaluate * len(invited) - 1e-9))) if evaluate else 0
    )


def test_over_selection_and_other_phases():
    rounds = Rounds(count=1, cohort=0.1, over_selection=1.3, evaluate=0.5)
    assert cohort.choose(Phase.TRAIN, IDS, rounds, (0,)).target == 4
    assert len(cohort.choose(Phase.TRAIN, IDS, rounds, (0,)).invitations) == 6
    assert len(cohort.choose(Phase.STATISTICS, IDS, rounds, (0,)).invitations) == 40
    evaluating = cohort.choose(Phase.EVALUATE, IDS, rounds, (0,))
    assert (len(evaluating.invitations), evaluating.target) == (20, 20)


def test_different_rounds_draw_different_cohorts():
    rounds = Rounds(count=1, cohort=0.2, over_selection=1.0)
    assert cohort.choose(Phase.TRAIN, IDS, rounds, (0, 1)) != cohort.choose(Phase.TRAIN, IDS, rounds, (0, 2))


def answer(number, verdict=Verdict.ACCEPTED):
    return Answer(IDS[number], bytes(32), verdict, "" if verdict is Verdict.ACCEPTED else "why")


@pytest.mark.parametrize(
    ("invited", "target", "quorum", "fewest", "accepted", "declined", "rejected", "late", "outcome"),
    [
        (4, 4, 1.0, 1, 3, 0, 0, False, None),
        (4, 4, 1.0, 1, 4, 0, 0, False, "done"),
        (4, 4, 1.0, 1, 3, 0, 0, True, "aborted"),
        (4, 4, 0.75, 1, 3, 0, 0, True, "done"),
        (4, 4, 0.76, 1, 3, 0, 0, True, "aborted"),
        (4, 4, 1.0, 1, 3, 1, 0, False, "done"),
        (4, 4, 1.0, 1, 3, 0, 1, False, "done"),
        (4, 4, 1.0, 1, 0, 4, 0, False, "aborted"),
        (4, 2, 1.0, 1, 2, 0, 0, False, "done"),
        (4, 2, 1.0, 1, 1, 0, 0, True, "aborted"),
        (4, 2, 0.5, 1, 1, 0, 0, True, "done"),
        (1, 1, 0.1, 1, 0, 0, 0, True, "aborted"),
        (4, 4, 1.0, 3, 3, 1, 0, False, "done"),
        (4, 4, 1.0, 3, 2, 1, 1, False, "aborted"),
        (4, 4, 1.0, 3, 2, 0, 2, False, "aborted"),
        (4, 4, 0.25, 3, 2, 0, 0, True, "aborted"),
        (4, 4, 0.25, 3, 3, 0, 0, True, "done"),
    ],
)
def test_when_a_round_closes(invited, target, quorum, fewest, accepted, declined, rejected, late, outcome):
    rounds = Rounds(count=1, quorum=quorum, min_updates=fewest)
    state = RoundState(Phase.TRAIN, IDS[:invited], target, rounds, deadline_s=10.0)
    for number in range(accepted):
        state.record(answer(number))
    for number in range(accepted, accepted + declined):
        state.record(answer(number, Verdict.DECLINED))
    for number in range(accepted + declined, accepted + declined + rejected):
        state.reject(answer(number, Verdict.REJECTED))
    assert state.outcome(10.0 if late else 9.0) == outcome


def test_an_evaluation_that_everybody_declines_is_over():
    state = RoundState(Phase.EVALUATE, IDS[:2], 2, Rounds(count=1, min_updates=2), deadline_s=10.0)
    for number in range(2):
        state.record(answer(number, Verdict.DECLINED))
    assert state.outcome(0.0) == "done"


@pytest.mark.parametrize(
    ("keys", "train", "statistics"),
    [
        ({"devices": 1}, 1, 1),
        ({"devices": 2}, 1, 1),
        ({"devices": 3}, 2, 2),
        ({"devices": 5}, 3, 3),
        ({"devices": 100}, 50, 50),
        ({"devices": 100, "quorum": 0.8}, 40, 40),
        ({"devices": 100, "cohort": 0.1}, 5, 50),
        ({"devices": 5, "quorum": 0.1, "cohort": 0.1}, 1, 1),
        ({"devices": 100, "cohort": 0.1, "min_updates": 1}, 1, 1),
        ({"devices": 100, "cohort": 0.1, "min_updates": 100}, 100, 100),
    ],
)
def test_the_fewest_updates_that_make_a_model(keys, train, statistics):
    rounds = Rounds(count=1, **keys)
    phases = (Phase.TRAIN, Phase.STATISTICS, Phase.EVALUATE)
    assert [fewest_updates(phase, rounds) for phase in phases] == [train, statistics, 1]


def test_a_cohort_is_large_enough_for_a_model():
    rounds = Rounds(count=1, devices=20, cohort=0.1, over_selection=1.0, min_updates=7)
    assert cohort.choose(Phase.TRAIN, IDS, rounds, (0,)).target == 7
    assert cohort.choose(Phase.TRAIN, IDS[:3], rounds, (0,)).target == 3


def test_the_steps_of_a_job(tmp_path, make_rig):
    job = load_job(make_rig(standardise="true", count=2, patience=2).config.job)
    assert phases.first(job, is_standardised=False) == Step(Phase.STATISTICS, 0)
    assert phases.first(job, is_standardised=True) == Step(Phase.TRAIN, 1)
    assert phases.after(Step(Phase.STATISTICS, 0), job, ()) == Step(Phase.TRAIN, 1)
    assert phases.after(Step(Phase.TRAIN, 1, 3), job, ()) == Step(Phase.TRAIN, 2)
    assert phases.after(Step(Phase.TRAIN, 2), job, ()) == Step(Phase.EVALUATE, 3)
    assert phases.after(Step(Phase.EVALUATE, 3, 2), job, ()) == Step(Phase.DONE, 3, 2)


@pytest.mark.parametrize(
    ("metric", "values", "converged"),
    [
        ("loss", [3, 2, 1], False),
        ("loss", [1, 2, 3], True),
        ("loss", [3, 2, 2, 1], False),
        ("loss", [3, 2, 2, 2], True),
        ("loss", [2], False),
        ("personal_loss", [3, 2, 1], False),
        ("personal_loss", [1, 2, 3], True),
        ("accuracy", [0.1, 0.2, 0.3], False),
        ("accuracy", [0.3, 0.2, 0.3], True),
    ],
)
def test_convergence(metric, values, converged):
    history = [{metric: float(value)} for value in values]
    assert phases.has_converged(history, Stopping(metric=metric, patience=2)) is converged
    assert not phases.has_converged(history, Stopping(metric=metric, patience=0))


def test_an_improvement_within_tolerance_does_not_count():
    history = [{"loss": 1.0}, {"loss": 0.95}]
    assert phases.has_converged(history, Stopping(patience=1, tolerance=0.1))
    assert not phases.has_converged(history, Stopping(patience=1, tolerance=0.01))


SPEC = ModelSpec(inputs=3, outputs=1)
WEIGHTS = np.arange(4, dtype=np.float32)
INPUT_LAYER = Standardiser(np.ones(3, np.float32), np.full(3, 2, np.float32))


def warm(rig, model, name="start.fedloom"):
    path = rig.config.job
    path.write_text(f'warm_start = "{name}"\n' + path.read_text())
    (export_onnx if name.endswith("onnx") else save)(model, path.parent / name)
    return initial_model(load_job(path), path)


@pytest.mark.parametrize("name", ["start.fedloom", "start.onnx"])
def test_a_warm_start_keeps_weights_and_input_layer(make_rig, name):
    model = warm(
        make_rig(standardise="true"), Model(spec=SPEC, loss="mse", weights=WEIGHTS, standardiser=INPUT_LAYER), name
    )
    np.testing.assert_array_equal(model.weights, WEIGHTS)
    np.testing.assert_array_equal(model.standardiser.shift, INPUT_LAYER.shift)


def test_a_warm_start_skips_the_statistics(make_rig):
    rig = make_rig(standardise="true")
    warm(rig, Model(spec=SPEC, loss="mse", weights=WEIGHTS, standardiser=INPUT_LAYER))
    rig.boot()
    rig.ready()
    rig.work()
    assert rig.devices[0].manifest.phase is Phase.TRAIN


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"spec": ModelSpec(inputs=2, outputs=1), "weights": WEIGHTS[:3]}, "layers 2 → 1, the job 3 → 1"),
        ({"standardiser": INPUT_LAYER}, "data.standardise = true|set data.standardise = true"),
    ],
)
def test_a_warm_start_that_does_not_fit(make_rig, changes, problem):
    parts = {"spec": SPEC, "loss": "mse", "weights": WEIGHTS} | changes
    with pytest.raises(ConfigError, match=problem):
        warm(make_rig(), Model(**parts))


NOTICES: list[AnyNotice] = [
    Started("ab" * 16, "watch", True),
    Ready(2, 3),
    RoundOpened(1, 2, Phase.TRAIN, 8, 8),
    UpdateSeen(1, 2, "gate", Verdict.ACCEPTED, "", 900),
    UpdateSeen(1, 2, "gate", Verdict.DECLINED, "the battery is low", 900),
    RoundClosed(1, 2, Phase.TRAIN, "done", "", 7, 1, 0, 0.25, {"accuracy": 0.5, "loss": 1.0}, 0.7, 9000, 0),
    RoundClosed(1, 1, Phase.TRAIN, "aborted", "too few", 0, 0, 1, 60.0, {}, None, 0, 3),
    Stalled("no device is ready"),
    Done("watch", 20, "v0020.fedloom", {"accuracy": 0.98}),
    Done("flower-app", 6, "", {}),
]


def test_notices_for_people():
    assert [describe(notice) for notice in NOTICES] == [
        "resuming job watch in federation abababab",
        "2 of 3 devices ready",
        "round 1 (train), attempt 2: 8 devices invited",
        "",
        "  gate: declined (the battery is low)",
        "round 1 (train) closed in 0.25 s: 7 accepted, 1 declined, train loss 0.7 | accuracy 0.5, loss 1",
        "round 1 (train) aborted: too few",
        "waiting: no device is ready",
        "done: v0020.fedloom | accuracy 0.98",
        "done, after 6 rounds",
    ]


def test_notices_for_programs():
    out = io.StringIO()
    tell = json_lines(out)
    for notice in NOTICES:
        tell(notice)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [row["event"] for row in rows] == [
        "aggregator", "ready", "round_opened", "update", "update", "round_closed", "round_closed", "stalled", "done",
        "done",
    ]  # fmt: skip
    assert rows[5]["metrics"] == {"accuracy": 0.5, "loss": 1.0}
    assert rows[6]["train_loss"] is None


def test_every_field_of_a_notice_is_documented():
    for notice in NOTICES:
        assert type(notice).__struct_config__.tag in notices.__doc__
        assert all(field in notices.__doc__ for field in notice.__struct_fields__)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("out", [io.StringIO(), Terminal()])
def test_both_kinds_of_standard_output_say_the_same(out):
    tell = text_lines(out)
    for notice in NOTICES:
        tell(notice)
    assert "0.98" in out.getvalue()
    assert "\x1b" not in out.getvalue() or out.isatty()


def test_the_sample_configuration_is_right(monkeypatch):
    sample = Path(__file__).parents[2] / "deploy" / "aggregator.toml"
    monkeypatch.setenv("FEDLOOM_AGGREGATOR__BROKER__PORT", "1999")
    loaded = load_config(sample)
    assert loaded.config.broker.port == 1999


def test_the_sample_names_every_key_with_its_default(tmp_path):
    """Uncommented, the sample still loads, and says what the defaults are."""
    text = (Path(__file__).parents[2] / "deploy" / "aggregator.toml").read_text()
    lines = [
        line[2:] if line.startswith("# ") and " = " in line and line[2].islower() else line
        for line in text.splitlines()
    ]
    path = tmp_path / "aggregator.toml"
    path.write_text("\n".join(lines))
    config = load_config(path).config
    for section in ("log", "limits", "retention"):
        assert getattr(config, section) == type(getattr(config, section))()
    for name in [*AggregatorConfig.__struct_fields__, *type(config.broker).__struct_fields__]:
        assert name in text
    for section in (config.log, config.limits, config.retention):
        assert all(name in text for name in msgspec.structs.asdict(section))


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(0, 4))
def test_what_is_remembered_of_a_history_decides_as_all_of_it(values, patience):
    stopping, kept = Stopping(patience=patience), []
    for count, value in enumerate(values, 1):
        kept = phases.remember([*kept, {"loss": float(value)}], stopping)
        whole = [{"loss": float(each)} for each in values[:count]]
        assert phases.has_converged(kept, stopping) is phases.has_converged(whole, stopping)
        assert kept[-1] == whole[-1]
        assert len(kept) <= patience + 1
