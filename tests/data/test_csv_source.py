"""Good tables come back as they are; every bad one is one line that names the file, the place and the remedy."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from fedloom.data.config import SourceConfig
from fedloom.data.csv_source import BLOCK_ROWS, read_csv
from fedloom.data.table import Wanted
from fedloom.errors import DataError

WANTED = Wanted(("ax", "ay"), ("move",))


def refused(source, wanted=WANTED):
    with pytest.raises(DataError) as caught:
        read_csv(source, wanted)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(source.path)
    assert caught.value.remedy
    return text


def test_reads_columns_in_any_order(csv_file):
    table = read_csv(csv_file('ay,other,move,ax\n1, x,"a ",2\n\n3,y,b,4e-1\n'), WANTED)
    np.testing.assert_array_equal(table.numbers["ax"], np.array([2, 0.4], np.float32))
    np.testing.assert_array_equal(table.numbers["ay"], np.array([1, 3], np.float32))
    assert table.labels["move"].tolist() == ["a", "b"]
    assert [table.place(row) for row in (0, 1)] == ["line 2", "line 4"]
    assert table.numbers["ax"].dtype == np.float32


def test_reads_more_rows_than_a_block(csv_file):
    rows = 2 * BLOCK_ROWS + 7
    text = "ax,ay,move\n" + "".join(f"{row},{-row},{'long' if row == rows - 1 else 'a'}\n" for row in range(rows))
    table = read_csv(csv_file(text), WANTED)
    np.testing.assert_array_equal(table.numbers["ax"], np.arange(rows))
    np.testing.assert_array_equal(table.numbers["ay"], -np.arange(rows))
    assert table.labels["move"][-1] == "long"


def test_reads_gzip_another_delimiter_a_byte_order_mark_and_mapped_names(tmp_path):
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress("\ufeffaccel;ay;move\n1;2;a\n".encode()))
    source = SourceConfig(str(path), delimiter=";", columns={"ax": "accel"})
    assert read_csv(source, WANTED).numbers["ax"].tolist() == [1.0]


def test_missing_file(tmp_path):
    assert "there is no such file" in refused(SourceConfig(str(tmp_path / "none.csv")))


def test_folder_instead_of_file(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    assert "folder.csv: is a folder, not a file; name a file in it" in refused(
        SourceConfig(str(tmp_path / "folder.csv"))
    )


def test_not_gzip(tmp_path):
    path = tmp_path / "data.csv.gz"
    path.write_text("ax,ay,move\n1,2,a\n")
    assert "cannot be read" in refused(SourceConfig(str(path)))


@pytest.mark.parametrize("damage", [lambda body: body[:-20], lambda body: body[:30] + bytes(40) + body[70:]])
def test_damaged_gzip(tmp_path: Path, good, damage):
    path = tmp_path / "data.csv.gz"
    path.write_bytes(damage(gzip.compress(good.encode())))
    assert "cannot be read" in refused(SourceConfig(str(path)))


@pytest.mark.parametrize(("body", "byte"), [(b"\xff\xfe,1,2\n", "0xff"), ("1,2,gr\u00fcn\n".encode("latin-1"), "0xfc")])
def test_not_text(tmp_path, body, byte):
    path = tmp_path / "data.csv"
    path.write_bytes(b"ax,ay,move\n" + body)
    assert f"is not text in UTF-8: {byte} is none of its bytes; save it as UTF-8" in refused(SourceConfig(str(path)))


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_cells_parted_by_something_else(csv_file, good, mark):
    text = refused(csv_file(good.replace(",", mark)))
    assert "line 1: is one column, 'recording" in text
    assert "its cells are not parted by ','; write it with commas, or set `delimiter`" in text


def test_a_lone_column_may_be_called_as_it_is(csv_file):
    assert read_csv(csv_file("a;b\n1\n"), Wanted(("a;b",), ())).numbers["a;b"].tolist() == [1.0]


@pytest.mark.parametrize("text", ["", "\n"])
def test_empty(csv_file, text):
    assert "is empty" in refused(csv_file(text))


def test_header_only(csv_file):
    assert "no rows below its header" in refused(csv_file("ax,ay,move\n"))


@pytest.mark.parametrize("row", ["1,2", "1,2,a,4"])
def test_ragged(csv_file, row):
    assert "line 4: " in refused(csv_file(f"ax,ay,move\n1,2,a\n\n{row}\n5,6,b\n"))


def test_duplicate_header(csv_file):
    assert "line 1, 'ax': 2 columns" in refused(csv_file("ax,move,ax\n1,a,2\n"))


def test_missing_column_suggests_the_nearest(csv_file):
    text = refused(csv_file("accel_x,ay,move\n1,2,a\n", columns={"ax": "accelx"}))
    assert ": ax: the file has no 'accelx', only accel_x, ay, move; did you mean 'accel_x'?" in text


@pytest.mark.parametrize("cell", ["", "one", "nan", "inf", "-Infinity", "1e39"])
def test_cell_that_is_no_finite_number(csv_file, cell):
    text = "ax,ay,move\n" + "1,2,a\n" * (BLOCK_ROWS + 3) + f"1,{cell},a\n1,2,a\n"
    assert f"line {BLOCK_ROWS + 5}, column 'ay': {cell!r} is not a finite number" in refused(csv_file(text))


def test_open_quote(csv_file):
    assert "line 3" in refused(csv_file('ax,ay,move\n1,2,"a\n1,2,b\n'))


def test_too_many_rows(csv_file, good):
    assert read_csv(csv_file(good, max_rows=40), WANTED).lines.size == 40
    assert "more than 39 rows" in refused(csv_file(good, max_rows=39))


def test_inflated_size_is_bounded(tmp_path):
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress(b"ax,ay,move\n" + b"1,2,a\n" * 10_000))
    assert "more than 5000 bytes" in refused(SourceConfig(str(path), max_bytes=5000))


def test_endless_line_is_bounded(csv_file):
    assert "a line has more than" in refused(csv_file("ax" * (1 << 20)))
