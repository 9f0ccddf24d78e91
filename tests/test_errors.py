"""Errors name place and remedy; what may leave a device names no value."""

from fedloom.errors import CellError, DataError


def test_what_is_shared_of_a_data_error_has_no_directory():
    error = DataError("/data/ann/pulse.csv", "line 3", "7 cells where the header has 8", "complete that line")
    assert str(error) == "/data/ann/pulse.csv: line 3: 7 cells where the header has 8; complete that line"
    assert error.shareable == "pulse.csv: line 3: 7 cells where the header has 8"
    assert DataError("a/b.csv", "", "is empty", "fill it").shareable == "b.csv: is empty"


def test_what_is_shared_of_a_cell_error_has_no_value():
    error = CellError("pulse.csv", "line 3, column 'label'", "'arrhythmia' is none of the classes", "correct it")
    assert "arrhythmia" in str(error)
    assert "arrhythmia" not in error.shareable
    assert "pulse.csv: line 3, column 'label'" in error.shareable
