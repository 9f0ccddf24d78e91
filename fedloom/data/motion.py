"""Summary features of windows of motion sensors: what `fedloom.features.summary_names` names, computed.

Per channel: mean, quantiles (linear interpolation), the share of steps at which the signal crosses its own mean, and
the logarithm of the energy in each octave above one period a window, under a Hann window.
"""

import numpy as np
from numpy.typing import NDArray

from fedloom.data.table import Alive, nobody_watches
from fedloom.features import MOTION_SUMMARIES, OCTAVES, QUANTILES, channels, triples

FLOOR = 1e-6
"""Energy (signal units squared) that counts as silence, so that its logarithm stays finite."""
BLOCK = 16
"""Windows computed together: bounds the memory."""


def summarise(
    x: NDArray[np.float32],
    features: tuple[str, ...],
    starts: NDArray[np.int64],
    length: int,
    alive: Alive = nobody_watches,
) -> NDArray[np.float32]:
    """Describe the windows of `length` rows of `x` (n, d) that begin at `starts` (w,): (w, summary_width) float32."""
    signals = _with_magnitudes(x, features)
    summaries = np.empty((len(starts), len(MOTION_SUMMARIES) * len(signals)), np.float32)
    rows = np.arange(length)
    for first in range(0, len(starts), BLOCK):
        alive()
        block = starts[first : first + BLOCK]
        windows = signals[:, block[:, None] + rows].transpose(1, 0, 2)
        summaries[first : first + BLOCK] = _describe(windows).reshape(len(block), -1)
    return summaries


def _with_magnitudes(x: NDArray[np.float32], features: tuple[str, ...]) -> NDArray[np.float64]:
    """(c, n): every channel, contiguous in time."""
    signals = np.empty((len(channels(features)), len(x)))
    signals[: len(features)] = x.T
    for number, start in enumerate(triples(features), start=len(features)):
        signals[number] = np.sqrt(np.square(signals[start : start + 3]).sum(axis=0))
    return signals


def _describe(windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(w, c, length) → (w, summaries, c)."""
    mean = windows.mean(axis=2, keepdims=True)
    centred = windows - mean
    quantiles = np.quantile(windows, QUANTILES, axis=2)
    above = centred > 0.0
    crossings = (above[:, :, 1:] != above[:, :, :-1]).mean(axis=2)
    return np.stack((mean[:, :, 0], *quantiles, crossings, *_octaves(centred)), axis=1)


def _octaves(centred: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """OCTAVES times (w, c): log energy between 2^k and 2^(k+1) periods a window."""
    length = centred.shape[2]
    spectrum = np.fft.rfft(centred * np.hanning(length), axis=2)
    power = (np.square(spectrum.real) + np.square(spectrum.imag)) / length
    return [np.log(power[:, :, 2**k : 2 ** (k + 1)].sum(axis=2) + FLOOR) for k in range(OCTAVES)]
