"""What the table and the report say follows from the runs."""

import fake_engine
import msgspec
import pytest

from simulation.compare import charts, words
from simulation.compare.cache import Cache
from simulation.compare.compare import Comparison, Outcome, compare, grouped
from simulation.compare.plan import plan
from simulation.compare.report import write_report
from simulation.compare.rows import findings
from simulation.compare.statistics import Interval

SWEEP = '"training.learning_rate" = [0.1, 0.3]\n"rounds.cohort" = [0.5, 1.0]\nseed = [4, 5, 9]'


@pytest.fixture
def runs(write_job):
    return plan([write_job(sweep=SWEEP)])


@pytest.fixture
def comparison(runs) -> Comparison:
    """Twelve runs in four groups; of the second group one has failed, of the third two, of the last all."""
    failed = {5, 7, 8, 9, 10, 11}

    def outcome(place, run):
        if place in failed:
            return Outcome(run, None, "out of luck", 1.0)
        return Outcome(run, fake_engine.history(run), "", 1.0)

    return Comparison(grouped([outcome(place, run) for place, run in enumerate(runs)]), 0)


def test_runs_that_differ_in_their_seed_alone_are_one_row(comparison):
    rows = findings(comparison, "", None).rows
    assert [(row.settings, row.seeds, row.failed) for row in rows] == [
        ({"training.learning_rate": 0.1, "rounds.cohort": 0.5}, [4, 5, 9], 0),
        ({"training.learning_rate": 0.1, "rounds.cohort": 1.0}, [4, 5], 1),
        ({"training.learning_rate": 0.3, "rounds.cohort": 0.5}, [4], 2),
        ({"training.learning_rate": 0.3, "rounds.cohort": 1.0}, [], 3),
    ]
    assert rows[0].final.mean == pytest.approx(0.6)
    assert (rows[2].final, rows[3].final) == (Interval(0.4, None, 1), None)


def test_costs_without_a_target_are_of_whole_runs(comparison):
    first = findings(comparison, "accuracy", None).rows[0]
    assert {axis: (cost.mean, cost.half_width) for axis, cost in first.costs.items()} == {
        "rounds": (2, 0),
        "update_bytes": (2000, 0),
        "simulated_s": (3600, 0),
    }


def test_costs_to_a_target_are_of_the_runs_that_reach_it(comparison):
    """From 0.4 after round 1, seed 9 reaches 0.9 with round 2, so 0.5 a fifth of a round later; seed 5 at its end."""
    first, second, third, last = findings(comparison, "accuracy", 0.5).rows
    assert (first.reached, first.costs["rounds"].mean) == (2, pytest.approx((1.2 + 2.0) / 2))
    assert (second.reached, second.costs["update_bytes"].mean) == (1, pytest.approx(2000))
    assert (third.reached, third.costs, last.reached, last.costs) == (0, {}, 0, {})


def test_a_figure_that_some_runs_have_not_measured_is_told_of_these(comparison, tmp_path):
    assert findings(comparison, "loss", None).rows[0].final.mean == pytest.approx(0.4)
    comparison.groups[0].outcomes[0].history.metrics[-1]["auc"] = 0.75
    found = findings(comparison, "auc", None)
    assert found.rows[0].final.mean == 0.75
    others = "learning_rate 0.1, cohort 1.0; learning_rate 0.3, cohort 0.5"
    assert words.note(found).endswith(f" auc was not measured in {others}: choose another with --figure.")
    write_report(tmp_path, comparison, found, "")


def test_runs_of_different_data_are_told_apart(comparison):
    assert "different data" not in words.note(findings(comparison, "", None))
    first = comparison.groups[0].outcomes[0]
    job = msgspec.structs.replace(
        first.run.job, simulation=msgspec.structs.replace(first.run.job.simulation, dataset="iris")
    )
    comparison.groups[0].outcomes[0] = first._replace(run=first.run._replace(job=job))
    found = findings(comparison, "", None)
    assert found.datasets == ["iris", "digits"]
    assert "The rows are of different data, iris, digits: what differs may be these." in words.note(found)


def test_the_table_says_what_is_sure_and_what_is_not(comparison):
    found = findings(comparison, "", 0.5)
    lines = [words.cells(found, row) for row in found.rows]
    assert words.headings(found)[:5] == ["learning_rate", "cohort", "seeds", "accuracy, last", "best"]
    costs = ["rounds to 50.0 %", "updates sent to 50.0 %, kB", "simulated time to 50.0 %, h"]
    assert words.headings(found)[5:] == costs
    assert lines[0][:5] == ["0.1", "0.5", "3", "60.0 ± 65.7 %", "60.0 ± 65.7 %"]
    assert lines[0][5] == "1.6 ± 5.1 (2 of 3)"
    assert lines[1][2:6] == ["2, 1 failed", "45.0 ± 63.5 %", "45.0 ± 63.5 %", "2 (1 of 2)"]
    assert lines[1][6:] == ["2 (1 of 2)", "1 (1 of 2)"]
    assert lines[2][2:6] == ["1, 2 failed", "40.0 % (one run)", "40.0 % (one run)", "not reached"]
    assert lines[3][2:6] == ["0, 3 failed", "–", "–", "–"]
    assert words.label(found, found.rows[0]) == "learning_rate 0.1, cohort 0.5"


def test_mean_lines_are_of_the_rounds_that_all_have(runs):
    ends = [
        fake_engine.history(run, accuracy=[0.1, value, 0.5]) for run, value in zip(runs[:2], (0.2, 0.4), strict=True)
    ]
    ends[1].rounds.pop()
    ends[1].metrics.pop()
    line = charts.mean_line(ends, "accuracy", "update_bytes")
    assert line.places == [0, 1000]
    assert line.means == pytest.approx([0.1, 0.3])
    assert line.half_widths == pytest.approx([0, 12.706 * 0.1], rel=1e-4)  # t of one degree; sd 0.141 of two


def test_the_report_stands_alone_and_shows_everything(comparison, tmp_path):
    found = findings(comparison, "", 0.5)
    write_report(tmp_path, comparison, found, "fedloom compare <digits>")
    page = (tmp_path / "report.html").read_text()
    assert page.count("<figure>") == 5
    for title in ("rounds", "bytes", "simulated time"):
        assert f"<h2>Against {title}</h2>" in page
    assert "<h2>How clients differ</h2>" in page
    assert "<h2>learning_rate and cohort</h2>" in page
    assert page.count("out of luck") == 6
    assert "fedloom compare &lt;digits&gt;" in page
    assert "prefers-color-scheme: dark" in page
    for outside in ('src="', 'href="http', "<script", "@import", "url(http"):
        assert outside not in page
    heat = charts.heat_map(found.rows, "rounds.cohort", "training.learning_rate", "accuracy")
    assert [value for value in ("60.0", "45.0", "40.0") if f">{value}<" not in heat] == []
    written = msgspec.json.decode((tmp_path / "findings.json").read_bytes())
    assert (written["figure"], len(written["rows"]), len(written["failures"])) == ("accuracy", 4, 6)


def test_more_groups_than_styles_are_all_in_the_table(write_job, tmp_path):
    values = [number / 1000 for number in range(1, charts.MAX_LINES + 3)]
    runs = plan([write_job(sweep=f'"training.learning_rate" = {values}')])
    comparison = Comparison(grouped([Outcome(run, fake_engine.history(run), "", 1.0) for run in runs]), 0)
    write_report(tmp_path, comparison, findings(comparison, "", None), "")
    page = (tmp_path / "report.html").read_text()
    assert page.count("<tr>") == len(values) + 1
    assert page.count("<li>") == charts.MAX_LINES


def test_nothing_but_failures_is_told_as_such(runs, tmp_path):
    comparison = Comparison(grouped([Outcome(run, None, "out of luck", 1.0) for run in runs]), 0)
    found = findings(comparison, "accuracy", None)
    write_report(tmp_path, comparison, found, "")
    assert "<figure>" not in (tmp_path / "report.html").read_text()


def test_ctrl_c_keeps_what_is_done_and_does_only_the_rest_next_time(runs, tmp_path):
    told = []

    def interrupt(outcome):
        told.append(outcome)
        if len(told) == 3:
            raise KeyboardInterrupt

    known = Cache(tmp_path)
    first = compare(runs, fake_engine.work, 2, known, interrupt)
    assert first.left_out == len(runs) - 3
    assert sum(len(group.outcomes) for group in first.groups) == 3
    again = compare(runs, fake_engine.work, 2, known, told.append)
    assert sum(outcome.was_known for group in again.groups for outcome in group.outcomes) == 3
    assert (again.left_out, again.failures) == (0, [])
