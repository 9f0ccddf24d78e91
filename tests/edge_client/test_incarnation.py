"""Each state that begins anew outranks all before, whatever the clock says."""

from pathlib import Path

import pytest

from edge_client import incarnation
from edge_client.incarnation import FILE, MAX, next_incarnation
from fedloom.errors import StoreError


def test_the_number_rises_even_if_the_clock_goes_back(tmp_path: Path) -> None:
    assert [next_incarnation(tmp_path, at_s) for at_s in (500.9, 100.0, 501.0, 900.0)] == [500, 501, 502, 900]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_the_number_stays_in_its_field(tmp_path: Path) -> None:
    assert next_incarnation(tmp_path, 2.0**40) == MAX


@pytest.mark.parametrize("stored", ["", "7\n"])
def test_a_directory_that_cannot_be_written_is_said_and_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stored: str
) -> None:
    if stored:
        (tmp_path / FILE).write_text(stored)

    def read_only(path: Path, data: bytes) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(incarnation, "write_durably", read_only)
    assert next_incarnation(tmp_path, 3.0) == (8 if stored else 3)
    assert "incarnation.unkept" in caplog.text
    assert "Read-only file system" in caplog.text


def test_every_bit_and_every_byte_counts(tmp_path: Path) -> None:
    next_incarnation(tmp_path, 1_795_281_234.0)
    whole = (tmp_path / FILE).read_bytes()
    harmed = [whole[:cut] for cut in range(len(whole))]
    for place in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        harmed.append(bytes(flipped))
    for each in harmed:
        (tmp_path / FILE).write_bytes(each)
        with pytest.raises(StoreError, match=r"incarnation: is .*; run: fedloom-edge repair"):
            next_incarnation(tmp_path, 3.0)


def test_a_damaged_counter_is_never_started_over(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff12")
    with pytest.raises(StoreError, match="is not a number"):
        next_incarnation(tmp_path, 3.0)
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        next_incarnation(tmp_path, 3.0)
