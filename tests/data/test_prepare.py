"""From file to training samples: order, classes, hold-out, windows; and what is said where that is impossible."""

import msgspec
import numpy as np
import pytest

from fedloom.data import prepare as prepare_module
from fedloom.data.config import SourceConfig
from fedloom.data.prepare import READERS, check_width, prepare
from fedloom.data.table import Table
from fedloom.errors import DataError
from fedloom.job.data import Data, Holdout, Window

replace = msgspec.structs.replace


def refused(source, data, loss="cross_entropy"):
    with pytest.raises(DataError) as caught:
        prepare(source, data, loss, 0)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(source.path)
    return str(caught.value)


def test_tail_of_every_recording_is_held_out(csv_file, good, data):
    train, holdout = prepare(csv_file(good), data, "cross_entropy", 0)
    assert train.x[:, 0].tolist() == [row for row in range(40) if row % 10 < 8]
    assert holdout.x[:, 0].tolist() == [row for row in range(40) if row % 10 >= 8]
    assert holdout.y.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert (train.x.dtype, train.y.dtype) == (np.float32, np.int64)
    assert train.x.flags.c_contiguous


def test_features_and_classes_come_in_the_job_s_order(csv_file, good, data):
    data = replace(data, features=("ay", "ax"), classes=("b", "a"))
    train, _ = prepare(csv_file(good), data, "binary_cross_entropy", 0)
    np.testing.assert_array_equal(train.x[3], [1.5, 3.0])
    assert train.y[0] == 1


def test_windows_do_not_straddle_the_hold_out(csv_file, good, data):
    data = replace(data, window=Window(4, 2), holdout=Holdout(0.4))
    source = csv_file(good.replace("ay", "v"), columns={"ay": "v"})
    train, holdout = prepare(source, data, "cross_entropy", 0)
    means = [10 * recording + start + 1.5 for recording in range(4) for start in (0, 2)]
    assert train.x[:, 0].tolist() == means  # rows 0–3 and 2–5 of each recording; 6–9 are held out
    assert holdout.x[:, 0].tolist() == [10 * recording + 7.5 for recording in range(4)]
    assert train.y.tolist() == [0, 0, 1, 1] * 2


def test_regression(csv_file, good):
    data = Data(features=("ax",), target="ay", holdout=Holdout(0.0))
    train, holdout = prepare(csv_file(good), data, "mse", 0)
    assert train.y.shape == (40, 1)
    assert train.y.dtype == np.float32
    np.testing.assert_array_equal(train.y[:, 0], train.x[:, 0] / 2)
    assert holdout.x.shape == (0, 1)


def test_random_hold_out_is_seeded_and_complete(csv_file, good, data):
    data, source = replace(data, groups=(), holdout=Holdout(0.25, "random")), csv_file(good)
    train, holdout = prepare(source, data, "cross_entropy", 7)
    assert holdout.samples == 10
    assert sorted([*train.x[:, 0], *holdout.x[:, 0]]) == list(range(40))
    np.testing.assert_array_equal(prepare(source, data, "cross_entropy", 7).holdout.x, holdout.x)
    assert prepare(source, data, "cross_entropy", 8).holdout.x.tolist() != holdout.x.tolist()


def test_random_hold_out_keeps_recordings_whole(csv_file, good, data):
    data = replace(data, holdout=Holdout(0.25, "random"))
    _, holdout = prepare(csv_file(good), data, "cross_entropy", 0)
    assert holdout.samples == 10
    assert len({int(row) // 10 for row in holdout.x[:, 0]}) == 1


def test_matrices_lie_side_by_side(npz_file):
    source = npz_file(x=np.arange(20.0).reshape(5, 4), z=np.arange(5), y=np.arange(5) % 2)
    data = Data(features=("z", "x"), target="y", classes=("0", "1"), holdout=Holdout(0.2))
    train, holdout = prepare(source, data, "cross_entropy", 0)
    assert train.x.shape == (4, 5)
    assert holdout.x.tolist() == [[4.0, 16.0, 17.0, 18.0, 19.0]]
    assert train.y.tolist() == [0, 1, 0, 1]


def test_the_target_may_be_a_group_too(csv_file, good, data):
    data = replace(data, groups=("recording", "move"))
    assert prepare(csv_file(good), data, "cross_entropy", 0).train.samples == 32


def test_label_that_is_no_class(csv_file, good, data):
    text = refused(csv_file(good.replace("0,a,4,2.0", "0,A,4,2.0")), data)
    assert "line 6, column 'move': 'A' is none of the job's classes a, b" in text


def test_label_that_is_no_class_in_npz(npz_file):
    data = Data(features=("x",), target="y", classes=("0", "1"))
    assert "row 2, column 'y': '9'" in refused(npz_file(x=np.zeros(3), y=np.array([0, 1, 9])), data)


def test_no_window_fits(csv_file, good, data):
    text = refused(csv_file(good), replace(data, window=Window(9, 1)))
    assert "no window of 9 rows fits: the longest recording has 10, less 20%" in text


def test_nothing_left_to_train_on(csv_file, good, data):
    data = replace(data, groups=(), holdout=Holdout(0.99, "random"))
    assert "leave none to train on" in refused(csv_file("recording,move,ax,ay\n0,a,1,2\n"), data)


def test_random_hold_out_of_a_single_recording(csv_file, good, data):
    data = replace(data, groups=(), window=Window(4, 2), holdout=Holdout(0.2, "random"))
    assert "holdout.by: there is one recording only" in refused(csv_file(good), data)


def test_windows_need_one_number_a_row(npz_file, data):
    source = npz_file(ax=np.zeros((9, 2)), ay=np.zeros(9), move=np.array(["a"] * 9), recording=np.zeros(9))
    assert "ax: has shape (9, 2)" in refused(source, replace(data, window=Window(4, 2)))


def test_unknown_ending(tmp_path, data):
    assert "none of the endings .csv, .csv.gz, .npz" in refused(SourceConfig(str(tmp_path / "data.parquet")), data)


def test_kind_overrides_the_ending(tmp_path, good, data):
    path = tmp_path / "table.txt"
    path.write_text(good)
    assert prepare(SourceConfig(str(path), kind="csv"), data, "cross_entropy", 0).train.samples == 32


def test_width_that_the_model_does_not_take(csv_file, good, data):
    source = csv_file(good)
    prepared = prepare(source, data, "cross_entropy", 0)
    check_width(source, prepared, 2)
    with pytest.raises(DataError, match="a sample has 2 features, but the model takes 3"):
        check_width(source, prepared, 3)


def test_a_new_kind_of_source_is_one_more_reader(monkeypatch, data):
    def sensor(_source, wanted, _alive):
        numbers = {name: np.arange(10, dtype=np.float32) for name in wanted.numbers}
        return Table(numbers, {name: np.array(["a"] * 10) for name in wanted.labels}, None)

    monkeypatch.setitem(READERS, "csv", sensor)
    assert prepare_module.prepare(SourceConfig("bus-0", kind="csv"), data, "cross_entropy", 0).train.samples == 8


@pytest.mark.parametrize("window", [None, Window(4, 1)])
def test_long_reading_says_that_it_goes_on(csv_file, data, window):
    rows = "".join(f"{row // 600},{'ab'[row % 2]},{row},{row}\n" for row in range(1800))
    calls = []
    data = replace(data, window=window)
    prepare(csv_file("recording,move,ax,ay\n" + rows), data, "cross_entropy", 0, lambda: calls.append(1))
    assert len(calls) >= (4 if window is None else 100)


def test_reading_arrays_says_that_it_goes_on(npz_file):
    calls = []
    source = npz_file(x=np.arange(12.0), z=np.arange(12.0), y=np.arange(12) % 2)
    data = Data(features=("x", "z"), target="y", classes=("0", "1"))
    prepare(source, data, "binary_cross_entropy", 0, lambda: calls.append(1))
    assert len(calls) == 3
