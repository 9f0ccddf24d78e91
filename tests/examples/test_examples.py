"""Every example's job file loads, and its data are what the job asks for."""

import gzip
import sys
import tomllib

import numpy as np
import pytest

from fedloom.data.config import SourceConfig
from fedloom.data.prepare import check_width, prepare
from fedloom.job import load_job


def prepared(job, path):
    source = SourceConfig(str(path))
    result = prepare(source, job.data, job.training.loss, job.seed)
    check_width(source, result, job.model.inputs)
    return result


def test_every_example_has_a_readme_and_a_job_or_an_app_of_flower(examples):
    for folder in sorted(path for path in examples.iterdir() if path.is_dir() and path.name[0] not in "._"):
        assert (folder / "README.md").is_file(), folder
        assert list(folder.glob("job*.toml")) or (folder / "pyproject.toml").is_file(), folder
        for path in folder.glob("job*.toml"):
            load_job(path)


@pytest.mark.parametrize(("name", "width"), [("line", 1), ("regression", 10)])
def test_tables_fit_their_jobs(examples, generator, tmp_path, name, width):
    job = load_job(examples / name / "job.toml")
    paths = generator(name).make(tmp_path / "data", job.rounds.devices, seed=3)
    assert len(paths) == len(set(paths)) == job.rounds.devices
    sets = [prepared(job, path) for path in paths]
    assert all(train.x.shape[1] == width and train.y.shape == (train.samples, 1) for train, _ in sets)
    assert not np.allclose(sets[0].train.x, sets[1].train.x)
    again = prepared(job, generator(name).make(tmp_path / "again", 2, seed=3)[1])
    np.testing.assert_array_equal(again.train.x, sets[1].train.x)


def test_line_data_lie_on_the_line(examples, generator, tmp_path):
    job = load_job(examples / "line" / "job.toml")
    sets = [prepared(job, path).train for path in generator("line").make(tmp_path, 5, seed=0)]
    x, y = np.concatenate([one.x for one in sets])[:, 0], np.concatenate([one.y for one in sets])[:, 0]
    assert np.polyfit(x, y, 1) == pytest.approx([2.0, 1.0], abs=0.02)
    assert sets[0].x.max() < sets[4].x.min()  # no device sees the whole line


@pytest.mark.parametrize("skew", [False, True])
def test_digits_fit_their_job_and_are_all_dealt_out(examples, generator, tmp_path, skew):
    job = load_job(examples / "digits_mlp" / "job.toml")
    sets = [prepared(job, path) for path in generator("digits_mlp").make(tmp_path, 5, 0, skew)]
    assert sum(train.samples + holdout.samples for train, holdout in sets) == 1797
    counts = np.array([np.bincount(train.y, minlength=10) for train, _ in sets])
    shares = counts / counts.sum(axis=0)
    assert (shares.max() > 0.6) == skew
    assert 0.0 <= sets[0].train.x.min() < sets[0].train.x.max() <= 1.0


def idx_bytes(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()


@pytest.fixture
def mnist(tmp_path):
    """Forty images in MNIST's format, the images gzipped and the labels not."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, 28, 28), np.uint8), np.arange(40, dtype=np.uint8) % 10
    folder = tmp_path / "mnist"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return folder, images, labels


def test_idx_files_fit_the_mnist_job(examples, generator, tmp_path, mnist):
    folder, images, labels = mnist
    module = generator("digits_mlp")
    x, y = module.load_mnist(folder)
    np.testing.assert_array_equal(np.round(x * 255), images.reshape(40, 784))
    np.testing.assert_array_equal(y, labels)
    job = load_job(examples / "digits_mlp" / "job_mnist.toml")
    sets = [prepared(job, path) for path in module.make(tmp_path / "data", 2, 0, idx=folder)]
    assert [train.samples + holdout.samples for train, holdout in sets] == [20, 20]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"hello world, no digits here", "is not an IDX file"),
        (b"", "is not an IDX file"),
        (bytes((0, 0, 8, 1)) + b"\xff\xff\xff\xff", "claims 4,294,967,295 bytes"),
        (bytes((0, 0, 8, 1)) + b"\x00\x00\x00\x05abc", "does not hold the 5 bytes"),
        (bytes((0, 0, 8, 1)) + b"\x00\x00\x00\x05abcdef", "does not hold the 5 bytes"),
        (bytes((0, 0, 8, 1)) + b"\x00\x00\x00\x03abc", "40 images but 3 labels"),
    ],
)
def test_bad_idx_files_are_refused(generator, mnist, content, says):
    folder, _, _ = mnist
    (folder / "train-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(SystemExit, match=says):
        generator("digits_mlp").load_mnist(folder)


def test_missing_idx_files_are_refused(generator, tmp_path):
    with pytest.raises(SystemExit, match="there is no such file"):
        generator("digits_mlp").load_mnist(tmp_path)


@pytest.mark.parametrize("name", ["line", "regression", "digits_mlp"])
def test_make_data_as_a_command(generator, tmp_path, monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", ["make_data.py", "--out", str(tmp_path / "d"), "--devices", "2", "--seed", "1"])
    generator(name).main()
    assert sorted(capsys.readouterr().out.split()) == sorted(str(path) for path in (tmp_path / "d").iterdir())


def test_watch_data_fit_their_job(examples):
    job = load_job(examples / "watch" / "job.toml")
    train, holdout = prepared(job, examples / "watch" / "data" / "wearer-04.csv.gz")
    assert set(train.y.tolist()) == set(range(7))
    assert train.samples > 300
    assert holdout.samples > 10


def test_job_files_differ_only_where_mnist_does(examples):
    small, mnist = (
        tomllib.loads((examples / "digits_mlp" / name).read_text()) for name in ("job.toml", "job_mnist.toml")
    )
    assert {key for key in small if small[key] != mnist[key]} == {"name", "model", "training", "rounds"}
