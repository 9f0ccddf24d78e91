"""Labels of devices: from their tokens, and as an operator changes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.enrolment.relabel import relabel
from aggregator.enrolment.roster import roster
from aggregator.labels import MAX_LABELS, Wanted, read_labels
from aggregator.store import open_store
from fedloom.errors import ConfigError, InputError

LABELS = {"site": "north", "power": "mains"}


def labels_of(desk, name):
    with open_store(desk.rig.state) as store:
        return {each.name: each.labels for each in roster(store, desk.rig.utc_s)}[name]


def test_a_device_begins_with_its_tokens_labels(desk):
    joiner = desk.joined(labels={"site": "south"})
    assert labels_of(desk, "gate") == {"site": "south"}
    with open_store(desk.rig.state) as store:
        assert relabel(store, "gate", {"power": "mains"}, ["site"]) == {"power": "mains"}
        assert relabel(store, joiner.id.hex(), {"power": "battery"}, []) == {"power": "battery"}
    assert labels_of(desk, "gate") == {"power": "battery"}
    assert labels_of(desk, "device-0") == {}


def test_another_token_adds_its_labels(desk):
    joiner = desk.joined(labels={"site": "south", "floor": "2"})
    again = desk.joiner(labels={"site": "north"})
    again.secrets = joiner.secrets
    desk.send(again, again.ask())
    assert again.id == joiner.id
    assert labels_of(desk, "gate") == {"site": "north", "floor": "2"}


@pytest.mark.parametrize(
    ("name", "labels", "removed", "problem"),
    [
        ("device-9", {}, [], "NAME: 'device-9' is not known; did you mean 'device-[0-2]'"),
        ("device-0", {}, ["sit"], "--remove: 'device-0' has no label 'sit'; did you mean 'site'"),
        ("device-0", {str(number): "x" for number in range(MAX_LABELS)}, [], "17 labels, 16 allowed"),
    ],
)
def test_what_cannot_be_changed_stays(desk, name, labels, removed, problem):
    with open_store(desk.rig.state) as store:
        relabel(store, "device-0", {"site": "north"}, [])
        with pytest.raises(ConfigError, match=problem):
            relabel(store, name, labels, removed)
    assert labels_of(desk, "device-0") == {"site": "north"}


@pytest.mark.parametrize(
    ("require", "exclude", "admits"),
    [
        ((), (), True),
        (("site=north",), (), True),
        (("site",), (), True),
        (("site=south",), (), False),
        (("site=north", "floor"), (), False),
        ((), ("power=battery",), True),
        ((), ("power",), False),
        (("site=north",), ("power=mains",), False),
        (("site=",), (), False),
    ],
)
def test_which_devices_a_job_takes(require, exclude, admits):
    assert Wanted(require, exclude).admits(LABELS) is admits


@given(st.dictionaries(st.text(max_size=3), st.text(max_size=3)), st.lists(st.text(min_size=1, max_size=3), min_size=1))
def test_what_is_required_and_excluded_takes_nobody(labels, wanted):
    assert not Wanted(tuple(wanted), tuple(wanted)).admits(labels)


@pytest.mark.parametrize(
    "given", [["site"], ["=x"], ["site=a", "site=b"], ["a=\n"], ["a=" + "x" * 101], ["x" * 101 + "="]]
)
def test_labels_that_cannot_be_used(given):
    with pytest.raises(InputError, match=r"device label: KEY=VALUE: .* cannot be used"):
        read_labels(given, "device label", "KEY=VALUE")
