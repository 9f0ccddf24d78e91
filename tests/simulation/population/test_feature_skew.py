"""Clients that see the same rows each in its way."""

from pathlib import Path

import numpy as np
import pytest
from jobs import job

from simulation.population.build import build
from simulation.population.feature_skew import turned


def made(**partition):
    simulation = {"dataset": "digits", "clients": 8, "partition": {"method": "features", **partition}}
    return build(job(simulation), Path("job.toml"), 2)


def test_noise_grows_with_the_client_s_number_and_stays_with_the_row() -> None:
    population = made(noise=0.5)
    for client in (0, 3, 7):
        ids = np.array([client])
        samples = population.training(ids)
        noise = population.features(ids, samples) - population.pool.x[samples.rows]
        assert abs(noise.mean()) < 0.03
        assert abs(noise.var() / (0.5 * (client + 1) / 8) - 1) < 0.05
        again = population.features(ids, population.training(ids))
        np.testing.assert_array_equal(again - population.pool.x[samples.rows], noise)


def test_noise_is_normal_and_different_in_every_row_and_column() -> None:
    from scipy import stats

    population = made(noise=1.0)
    ids = np.array([7])
    samples = population.training(ids)
    noise = population.features(ids, samples) - population.pool.x[samples.rows]
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-4
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(noise[:, :32].ravel(), noise[:, 32:].ravel())[0, 1]) < 0.05


def test_the_pool_stays_as_it_is() -> None:
    population = made(noise=1.0, rotation=90.0)
    before = population.pool.x.copy()
    ids = np.arange(8)
    population.features(ids, population.training(ids))
    np.testing.assert_array_equal(population.pool.x, before)


def test_the_last_client_s_images_are_turned_whole_and_the_middle_one_s_half() -> None:
    population = made(rotation=180.0)
    for client, quarters in ((7, 2), (3, 1)):
        ids = np.array([client])
        samples = population.holdout(ids)
        images = population.pool.x[samples.rows].reshape(-1, 8, 8)
        seen = population.features(ids, samples).reshape(-1, 8, 8)
        np.testing.assert_allclose(seen, np.rot90(images, quarters, axes=(1, 2)), atol=1e-5)


@pytest.mark.parametrize("degrees", [0.0, 360.0])
def test_a_whole_turn_changes_nothing(degrees) -> None:
    images = np.random.default_rng(0).random((3, 25), np.float32)
    np.testing.assert_allclose(turned(images, degrees), images, atol=1e-5)


def test_half_a_right_angle_spreads_the_light_and_keeps_it() -> None:
    image = np.zeros((1, 49), np.float32)
    image[0, 24] = 1.0  # the centre stays
    np.testing.assert_allclose(turned(image, 45.0)[0, 24], 1.0, atol=1e-6)
    image[0, 17] = 1.0  # one above it goes up and left, between pixels
    seen = turned(image, 45.0).reshape(7, 7)
    assert seen[2, 2] > 0.2
    assert seen[2, 3] > 0.2
    assert seen[2, 4] < 0.05
