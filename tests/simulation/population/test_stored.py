"""Files and folders beside the job: mapped where they are large, checked where they are read."""

import os
from pathlib import Path

import numpy as np
import pytest
from jobs import job

from fedloom.data.table import Wanted
from fedloom.errors import DataError
from simulation.cohort.shared import pack, unpack
from simulation.population import stored
from simulation.population.build import build
from simulation.population.mapped import Mapped

X = np.arange(24, dtype=np.float32).reshape(8, 3)
Y = np.arange(8) % 2
WANTED = Wanted(("x",), ("y",))


@pytest.fixture
def _maps_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MAPPED_BYTES", 1)


def read(path: Path, wanted: Wanted = WANTED):
    return stored.read(stored.source_of(path), wanted)


def save_folder(folder: Path, **arrays) -> Path:
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


@pytest.mark.usefixtures("_maps_all")
@pytest.mark.parametrize("x", [X.astype(np.float64), np.asfortranarray(X), X[:, 0]])
def test_what_cannot_be_mapped_is_read(tmp_path, x) -> None:
    numbers = read(save_folder(tmp_path / "pool", x=x, y=Y)).numbers["x"]
    assert type(numbers) is np.ndarray
    np.testing.assert_array_equal(numbers, x)


def test_small_arrays_are_read_and_looked_through(tmp_path) -> None:
    broken = X.copy()
    broken[3, 1] = np.nan
    np.savez(tmp_path / "pool.npz", y=Y, x=broken)
    folder = save_folder(tmp_path / "pool", y=Y, x=broken)
    for path in (tmp_path / "pool.npz", folder):
        with pytest.raises(DataError, match=r"x\[3, 1\]: nan is not a finite number"):
            read(path)


@pytest.mark.usefixtures("_maps_all")
def test_a_header_that_claims_too_much_is_not_believed(tmp_path) -> None:
    folder = save_folder(tmp_path / "pool", x=X, y=Y)
    content = (folder / "x.npy").read_bytes()
    (folder / "x.npy").write_bytes(content.replace(b"(8, 3)", b"(9, 3)"))
    with pytest.raises(DataError, match=r"x.npy: cannot be read .*; write it with numpy.save"):
        read(folder)


@pytest.mark.usefixtures("_maps_all")
def test_a_folder_of_npy_files_is_mapped(tmp_path) -> None:
    table = read(save_folder(tmp_path / "pool", x=X, y=np.array(["0", "1"] * 4)))
    assert isinstance(table.numbers["x"], Mapped)
    assert table.numbers["x"].flags.aligned
    assert table.labels["y"].tolist() == ["0", "1"] * 4
    asked = job({"dataset": "pool", "clients": 2}, inputs=3, classes=2)
    assert isinstance(build(asked, tmp_path / "job.toml", 0).pool.x, Mapped)


@pytest.mark.usefixtures("_maps_all")
def test_another_process_maps_it_again(tmp_path) -> None:
    x = read(save_folder(tmp_path / "pool", x=X, y=Y)).numbers["x"]
    descriptor, packed = pack(x)
    try:
        again = unpack(descriptor, packed)
    finally:
        os.close(descriptor)
    assert (packed.arrays, type(again)) == ((), Mapped)
    np.testing.assert_array_equal(again, X)
    assert not again.flags.writeable
    descriptor, packed = pack(x + 1)  # no longer what is in the file
    try:
        np.testing.assert_array_equal(unpack(descriptor, packed), X + 1)
    finally:
        os.close(descriptor)
    assert packed.arrays
    for part in (x[2:5], x[np.array([1, 3])]):
        assert type(part) is np.ndarray
    assert x[2:5].tolist() == X[2:5].tolist()


@pytest.mark.usefixtures("_maps_all")
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "the file has no 'y', only x"),
        ({"x": X, "y": Y[:5]}, r"has arrays of 8 \(x\), 5 \(y\) rows; give every array the same number"),
        ({"x": X[:0], "y": Y[:0]}, "rows; give every array the same number of rows, one at least"),
        ({"x": X, "y": Y.astype(object)}, "y.npy: holds Python objects, which are never unpickled; store numbers"),
        ({"x": X, "y": np.array(1)}, "y.npy: is a single value; give it one row a sample"),
    ],
)
def test_a_bad_folder_is_refused(tmp_path, arrays, message) -> None:
    with pytest.raises(DataError, match=message):
        read(save_folder(tmp_path / "pool", **arrays))


@pytest.mark.parametrize("content", [b"", b"x", b"\x93NUMPY\x01\x00", bytes(200)])
def test_what_is_no_npy_file_is_refused_without_advice_to_unpickle_it(tmp_path, content) -> None:
    folder = save_folder(tmp_path / "pool", x=X, y=Y)
    (folder / "x.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"x.npy: cannot be read .*; write it with numpy.save$") as raised:
        read(folder)
    assert "pickle" not in str(raised.value)


def test_another_ending_is_refused_with_those_that_there_are(tmp_path) -> None:
    (tmp_path / "all.xlsx").touch()
    with pytest.raises(
        DataError, match=r"has none of the endings .csv, .csv.gz, .npz, .parquet; rename it, or write it"
    ):
        read(tmp_path / "all.xlsx")


def test_a_table_is_read_by_its_columns(tmp_path) -> None:
    (tmp_path / "all.csv").write_text("a,b,y\n" + "".join(f"{row},{-row},{'uv'[row % 2]}\n" for row in range(10)))
    asked = job({"dataset": "all.csv", "clients": 2}, inputs=2, classes=2, features=["b", "a"]).data
    table = read(tmp_path / "all.csv", Wanted(asked.features, ("y",)))
    assert table.numbers["b"][:2].tolist() == [0.0, -1.0]


def test_parquet_columns(tmp_path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"a": [1.5, 2.0], "n": [1, 2], "y": ["u", "v"], "gap": [1, None]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "all.parquet")
    table = read(tmp_path / "all.parquet", Wanted(("a", "n"), ("y",)))
    assert (table.numbers["a"].tolist(), table.numbers["n"].tolist()) == ([1.5, 2.0], [1.0, 2.0])
    assert table.labels["y"].tolist() == ["u", "v"]
    with pytest.raises(DataError, match="has no 'z', only a, n, y, gap"):
        read(tmp_path / "all.parquet", Wanted(("z",), ()))
    with pytest.raises(DataError, match="gap: has cells without a value"):
        read(tmp_path / "all.parquet", Wanted(("gap",), ()))
    (tmp_path / "all.parquet").write_bytes(b"PAR1, or so it says")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "all.parquet")


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pyarrow is not installed; run: pip install 'fedloom\[parquet\]'"):
        read(tmp_path / "all.parquet")
