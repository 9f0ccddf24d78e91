"""Summaries against the plainest computation of each, one window and one channel at a time."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.data.motion import BLOCK, FLOOR, summarise
from fedloom.features import summary_names

FEATURES = ("ax", "ay", "az", "heat")


def plain(window, features):
    """{name: value} of one (length, d) window."""
    signals = {name: window[:, column].astype(np.float64) for column, name in enumerate(features)}
    signals["|a|"] = np.sqrt(signals["ax"] ** 2 + signals["ay"] ** 2 + signals["az"] ** 2)
    values = {}
    for name, signal in signals.items():
        centred = signal - signal.mean()
        values[f"mean({name})"] = signal.mean()
        for percent in (10, 25, 50, 75, 90):
            values[f"q{percent}({name})"] = np.percentile(signal, percent)
        changes = [(before > 0) != (after > 0) for before, after in itertools.pairwise(centred)]
        values[f"crossings({name})"] = sum(changes) / len(changes)
        length = len(signal)
        tapered = centred * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / (length - 1)))
        times = np.arange(length) / length
        for octave in range(1, 6):
            energy = 0.0
            for periods in range(2 ** (octave - 1), min(2**octave, length // 2 + 1)):
                energy += abs(np.sum(tapered * np.exp(-2j * np.pi * periods * times))) ** 2
            values[f"octave{octave}({name})"] = np.log(energy / length + FLOOR)
    return values


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 5, 32, 63, 100]), st.integers(1, 5))
def test_matches_the_plain_computation(seed, length, windows):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(length + 3 * windows, 4)).astype(np.float32)
    starts = rng.integers(0, 3 * windows, windows)
    summaries = summarise(x, FEATURES, starts, length)
    names = summary_names(FEATURES)
    assert summaries.shape == (windows, len(names))
    for row, start in zip(summaries, starts.tolist(), strict=True):
        expected = plain(x[start : start + length], FEATURES)
        assert set(expected) == set(names)
        np.testing.assert_allclose(row, [expected[name] for name in names], rtol=1e-5, atol=1e-5)


def test_blocks_do_not_show():
    x = np.random.default_rng(0).normal(size=(BLOCK + 30, 4)).astype(np.float32)
    starts = np.arange(BLOCK + 9)
    together = summarise(x, FEATURES, starts, 20)
    apart = np.concatenate([summarise(x, FEATURES, starts[i : i + 1], 20) for i in range(len(starts))])
    np.testing.assert_array_equal(together, apart)


def test_a_tone_is_loudest_in_its_octave():
    tone = np.sin(2 * np.pi * 5 * np.arange(200) / 200).astype(np.float32)  # 5 periods: octave 3 is [4, 8)
    row = dict(zip(summary_names(("v",)), summarise(tone[:, None], ("v",), np.array([0]), 200)[0], strict=True))
    octaves = [row[f"octave{number}(v)"] for number in range(1, 6)]
    assert int(np.argmax(octaves)) == 2
    assert row["crossings(v)"] == pytest.approx(10 / 199, abs=2 / 199)


def test_silence_is_finite():
    assert np.isfinite(summarise(np.zeros((50, 4), np.float32), FEATURES, np.array([0]), 50)).all()


def test_no_windows_give_no_rows():
    assert summarise(np.zeros((9, 4), np.float32), FEATURES, np.zeros(0, np.int64), 50).shape == (0, 60)
