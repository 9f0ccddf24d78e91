"""Named arrays: shapes, types, bounds; nothing is unpickled, nothing large is inflated before it is refused."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from fedloom.data.config import SourceConfig
from fedloom.data.npz_source import read_npz
from fedloom.data.table import Wanted
from fedloom.errors import DataError

WANTED = Wanted(("x",), ("y",))
X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 0, 1])


def refused(source, wanted=WANTED):
    with pytest.raises(DataError) as caught:
        read_npz(source, wanted)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(source.path)
    assert caught.value.remedy
    return text


def test_reads_matrices_and_labels(npz_file):
    table = read_npz(npz_file(x=X, y=Y, extra=np.zeros(9)), WANTED)
    np.testing.assert_array_equal(table.numbers["x"], X)
    assert table.numbers["x"].dtype == np.float32
    assert table.labels["y"].tolist() == [0, 1, 0, 1]
    assert table.place(3) == "row 3"


def test_whole_floats_are_labels_of_integers(npz_file):
    assert [str(y) for y in read_npz(npz_file(x=X, y=Y.astype(np.float64)), WANTED).labels["y"]] == ["0", "1", "0", "1"]


def test_not_a_zip(tmp_path):
    path = tmp_path / "data.npz"
    path.write_text("hello")
    assert "cannot be read" in refused(SourceConfig(str(path)))


def test_missing_file(tmp_path):
    assert "there is no such file" in refused(SourceConfig(str(tmp_path / "none.npz")))


def test_pickles_are_refused(npz_file):
    assert "x: holds Python objects, which are never unpickled; store numbers or text" in refused(
        npz_file(x=np.array([{"a": 1}] * 4), y=Y)
    )


def test_damaged(npz_file):
    source = npz_file(x=X, y=Y)
    with Path(source.path).open("r+b") as file:  # the first bytes of the first array's compressed body
        file.seek(60)
        file.write(bytes(40))
    assert "cannot be read" in refused(source)


def test_missing_array(npz_file):
    assert "y: the file has no 'y', only x, yy; did you mean 'yy'?" in refused(npz_file(x=X, yy=Y))


def test_mapped_name(npz_file):
    source = npz_file({"columns": {"y": "digit"}}, x=X, digit=Y)
    assert read_npz(source, WANTED).labels["y"].tolist() == Y.tolist()


def test_different_lengths(npz_file):
    assert "y: 3 rows where 'x' has 4" in refused(npz_file(x=X, y=Y[:3]))


def test_no_rows(npz_file):
    assert "has no rows" in refused(npz_file(x=X[:0], y=Y[:0]))


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (np.zeros((4, 2, 2)), Y, "x: has shape (4, 2, 2)"),
        (np.array(["a"] * 4), Y, "x: holds <U1, not numbers"),
        (np.float64(1), Y, "x: is a single value"),
        (X, X, "y: has shape (4, 3)"),
        (X, np.array([b"a"] * 4), "y: holds |S1"),
    ],
)
def test_wrong_dimensions_and_types(npz_file, x, y, says):
    assert says in refused(npz_file(x=x, y=y))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e300])
def test_not_finite(npz_file, value):
    x = X.copy()
    x[2, 1] = value
    assert f"x[2, 1]: {value} is not a finite number" in refused(npz_file(x=x, y=Y))


def test_inflated_size_is_bounded(npz_file):
    source = npz_file({"max_bytes": 10_000}, x=np.zeros((1000, 1000)), y=np.zeros(1000))
    assert "more than 10000 bytes" in refused(source)


def test_too_many_rows(npz_file):
    assert "more than 3 rows" in refused(npz_file({"max_rows": 3}, x=X, y=Y))


def test_header_that_claims_more_than_is_there(tmp_path):
    source = SourceConfig(str(tmp_path / "data.npz"))
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**12}, 3), }}".ljust(117) + "\n"
    body = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + X.tobytes()
    with zipfile.ZipFile(source.path, "w") as archive:
        archive.writestr("x.npy", body)
    assert "does not hold the (1000000000000, 3)" in refused(source, Wanted(("x",), ()))
