"""A job file is refused for what cannot work, with the two keys that disagree."""

import pytest

from fedloom.compression import EncodingOptions
from fedloom.errors import ConfigError
from fedloom.job import load_job

GOOD = {
    "": 'name = "j"',
    "model": "inputs = 4\noutputs = 3\nhidden = [5]",
    "data": 'features = ["a", "b", "c", "d"]\ntarget = "y"\nclasses = ["u", "v", "w"]',
    "training": 'loss = "cross_entropy"',
    "rounds": "count = 3",
}


@pytest.fixture
def job(tmp_path):
    def load(**changes):
        sections = GOOD | changes
        text = "\n".join(body if not name else f"[{name}]\n{body}" for name, body in sections.items())
        (tmp_path / "job.toml").write_text(text)
        return load_job(tmp_path / "job.toml")

    return load


def test_a_good_job_loads(job):
    assert job().model.widths == (4, 5, 3)
    assert job().model.layout().size == 4 * 5 + 5 + 5 * 3 + 3


def test_a_head_stays_where_it_is_and_what_is_shared_is_the_beginning(job):
    model = "inputs = 4\noutputs = 3\nhidden = [5, 2]"
    shared = {
        layers: job(model=model, personal=f'method = "head"\nlayers = {layers}').shared_layout.size for layers in (1, 2)
    }
    assert shared == {1: 4 * 5 + 5 + 5 * 2 + 2, 2: 4 * 5 + 5}
    assert job(model=model, personal='method = "ditto"').shared_layout == job(model=model).model.layout()


def test_a_job_may_stop_by_what_the_devices_own_models_measure(job):
    stopping = 'metric = "personal_accuracy"\npatience = 3'
    assert job(personal='method = "head"', stopping=stopping).stopping.metric == "personal_accuracy"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "inputs = 4\noutputs = 2"}, "model.outputs: 2 outputs for 3 classes"),
        ({"model": "inputs = 4\noutputs = 3\nhidden = [60000, 60000]"}, "3,600,540,003 weights; make it smaller"),
        ({"training": 'loss = "binary_cross_entropy"'}, "binary_cross_entropy needs 1 output and 2 classes"),
        ({"training": 'loss = "mse"'}, "mse does not use classes"),
        ({"training": 'loss = "cross_entropy"\nclass_weights = [1.0]'}, "1 weights for 3 classes"),
        ({"training": 'loss = "cross_entropy"\nschedule = "step"'}, "training.step_every"),
        (
            {"training": 'loss = "cross_entropy"\nlearning_rate = 0.0'},
            "training.learning_rate: 0.0: expected `float` > 0",
        ),
        ({"training": 'loss = "cross_entropy"\nlocal_epoch = 2'}, "did you mean 'local_epochs'?"),
        ({"rounds": "count = 0"}, "rounds.count: 0"),
        (
            {"rounds": "count = 1\ndevices = 8", "asynchronous": "buffer = 9"},
            "asynchronous.buffer: 9 updates, but a round of rounds.devices = 8 may bring 8 only; set it to 8 at most",
        ),
        (
            {"rounds": "count = 1\ndevices = 8\ncohort = 0.5", "asynchronous": "buffer = 5"},
            "may bring 4 only",
        ),
        (
            {"rounds": "count = 1\ndevices = 8", "asynchronous": "buffer = 3"},
            "no model is made of fewer than 4; raise it to 4, or set rounds.min_updates to 3",
        ),
        ({"rounds": "count = 1\nquorum = 1.5"}, "rounds.quorum: 1.5"),
        (
            {"rounds": "count = 1\ndevices = 3\nmin_updates = 4"},
            "rounds.min_updates: 4 updates, but the job starts with 3",
        ),
        ({"model": "inputs = 4\noutputs = 3\ndropout = 1.0"}, "model.dropout: 1.0"),
        ({"data": 'features = ["a", "a"]\ntarget = "y"\nclasses = ["u", "v", "w"]'}, "a feature is named twice"),
        ({"data": 'features = ["y"]\ntarget = "y"\nclasses = ["u", "v", "w"]'}, "is also a feature"),
        ({"data": 'features = ["a"]\ntarget = "y"\nclasses = ["u", "u", "w"]'}, "a class is named twice"),
        ({"data": GOOD["data"] + "\n[data.window]\nlength = 4\nhop = 9"}, "data.window.hop"),
        ({"stopping": 'metric = "auc"'}, "stopping.metric: 'auc' is not measured with loss cross_entropy; choose from"),
        ({"rounds": "count = 1\nevaluate = 0.0", "stopping": "patience = 2"}, "stopping.patience: waits for a metric"),
        (
            {"data.holdout": "fraction = 0.0", "stopping": "patience = 2"},
            "stopping.patience: waits for a metric, but data.holdout.fraction = 0 leaves nothing",
        ),
        ({"personal": 'method = "ditoo"'}, "personal.method: 'ditoo'"),
        (
            {"personal": 'method = "ditto"\nstrenght = 1.0'},
            "personal.strenght: is not a known key; did you mean 'strength'",
        ),
        ({"personal": 'method = "ditto"\nstrength = -1.0'}, "personal.strength: -1.0"),
        (
            {"personal": 'method = "head"\nstrength = 1.0'},
            "personal.strength: is nothing that method 'head' has; leave it out, or set personal.method to 'ditto'",
        ),
        ({"personal": 'method = "ditto"\nlayers = 2'}, "personal.layers: is nothing that method 'ditto' has"),
        (
            {"personal": 'method = "head"\nlayers = 2'},
            "personal.layers: 2 of the model's 2 layers stay on the devices, which leaves nothing to share; set",
        ),
        (
            {"personal": 'method = "head"', "model": "inputs = 4\noutputs = 3"},
            "give the model a hidden layer, or choose 'ditto'",
        ),
        (
            {"stopping": 'metric = "personal_f1"'},
            "stopping.metric: 'personal_f1' is not measured in the rounds of this",
        ),
        (
            {"stopping": 'metric = "personal_f1"', "personal": 'method = "fine_tune"'},
            "stopping.metric: 'personal_f1' is not measured in the rounds of this job",
        ),
        (
            {"stopping": 'metric = "f1"\npatience = 3', "personal": 'method = "head"'},
            "stopping.metric: 'f1' is that of a model whose last layers nobody trains; set it to 'personal_f1'",
        ),
        ({"": 'name = "Bad Name"'}, "name: 'Bad Name'"),
        ({"": 'name = "line\\n"'}, "name: "),
        ({"update": "max_feature = 0.0"}, "update.max_feature: 0.0"),
        ({"update": 'encoding = "topkk"'}, "update.encoding: 'topkk'"),
        (
            {"update": 'encoding = "topk"\nbits = 1'},
            "update.bits: encoding 'topk' leaves no choice of bits; leave it out",
        ),
        (
            {"update": "share = 0.1"},
            "update.share: encoding 'float32' sends all weights; leave it out, or set update.enc",
        ),
        (
            {"update": 'encoding = "int4"\nbits = 4'},
            "update.bits: encoding 'int4' leaves no choice of bits; leave it out",
        ),
        ({"update": 'encoding = "eden"\nbits = 5'}, "update.bits: 5: expected `int` <= 4"),
        ({"update": 'encoding = "topk"\nshare = 1.5'}, "update.share: 1.5"),
        ({"update": "max_feature = inf"}, "update.max_feature: inf"),
        ({"cohort": 'require = ["=north"]'}, "cohort.require[0]: '=north'"),
        ({"cohort": 'require = ["a", "b"]\nexclude = ["b", "c"]'}, "cohort.exclude: 'b' is required, too"),
        ({"cohort": 'require = ["a=1"]\nexclude = ["a"]'}, "cohort.exclude: 'a=1' is required, too, so that no device"),
        ({"cohort": 'require = ["a=1", "b", "a=2"]'}, "cohort.require: both a=1 and a=2, and a device has one value"),
        ({"cohort": 'excluded = ["b"]'}, "did you mean 'exclude'?"),
    ],
)
def test_what_cannot_work_is_refused(job, changes, message):
    with pytest.raises(ConfigError) as caught:
        job(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("update", "bits", "share"),
    [
        ("", 0, 0.0),
        ('encoding = "int4"', 0, 0.0),
        ('encoding = "sign"', 0, 0.0),
        ('encoding = "eden"', 1, 0.0),
        ('encoding = "eden"\nbits = 3', 3, 0.0),
        ('encoding = "topk"', 0, 0.05),
        ('encoding = "topk"\nshare = 0.01', 0, 0.01),
    ],
)
def test_an_encoding_has_its_own_options_and_their_defaults(job, update, bits, share):
    assert job(update=update).update.options == EncodingOptions(bits, share)
