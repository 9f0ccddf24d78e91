"""A device whose data is bad says so and stays out; the others go on, and the operator sees why."""

import pytest

from aggregator.notices import UpdateSeen
from fedloom.wire.messages import Verdict
from simulation.processes import LocalFleet


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda text: text.replace("\n", "\nnan,1\n", 1), "line 2, column 'x': its value cannot be used"),
        (lambda text: text.replace("x,y", "x,z", 1), "'y'"),
        (lambda text: "", "is empty"),
    ],
    ids=["NaN", "missing column", "empty file"],
)
def test_the_job_is_done_without_it(examples, make_data, tmp_path, spoil, reason):
    sources = make_data("line", devices=3, seed=0)
    text = (examples / "line" / "job.toml").read_text()
    text = text.replace("count = 40", "count = 3").replace("devices = 5", "devices = 3")
    (tmp_path / "job.toml").write_text(text)
    sources[1].write_text(spoil(sources[1].read_text()))
    with LocalFleet(tmp_path / "fleet", tmp_path / "job.toml", sources) as fleet:
        notices = list(fleet.notices(patience_s=30))
        fleet.wait()
    updates = [notice for notice in notices if isinstance(notice, UpdateSeen)]
    declined = [notice for notice in updates if notice.verdict is Verdict.DECLINED]
    assert {notice.device for notice in declined} == {"device-02"}
    assert {notice.device for notice in updates if notice.verdict is Verdict.ACCEPTED} == {"device-01", "device-03"}
    assert len(declined) == 5  # statistics, three rounds, evaluation
    assert all(reason in notice.reason for notice in declined)
    assert all(str(tmp_path) not in notice.reason for notice in declined)
