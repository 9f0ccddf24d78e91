"""Root documents follow one another: whoever believes one version is led to the newest, and nowhere else."""

from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom import msgpack
from fedloom.errors import Reason, Refused
from fedloom.trust.documents import (
    AggregatorKey,
    Registrar,
    Root,
    add_root_signature,
    open_next_root,
    open_root,
    root_signers,
    sign_root,
)
from fedloom.trust.seal import SealSuite
from fedloom.trust.signing import SigningKey

KEYS = [SigningKey(bytes([number]) * 32) for number in range(1, 9)]
A, B, C, D, E = KEYS[:5]


def root_of(*keys, threshold=1, version=1, **changes):
    """A root document's content with these root keys."""
    root = Root(
        version=version,
        federation=b"F" * 16,
        suite=SealSuite.X25519,
        root_keys=tuple(key.public for key in keys),
        threshold=threshold,
        registrar=Registrar(b"R" * 16, b"\x05" * 32, b"\x06" * 32, b"\x07" * 300),
        aggregators=(AggregatorKey(b"A" * 16, bytes([version % 256]) * 32),),
    )
    return msgspec.structs.replace(root, **changes)


def refusal_of(blob, current):
    with pytest.raises(Refused) as refusal:
        open_next_root(blob, current)
    return refusal.value.reason


def follow(blobs):
    root = open_root(blobs[0], sha256(blobs[0]).digest())
    for blob in blobs[1:]:
        root = open_next_root(blob, root)
    return root


@st.composite
def holders(draw):
    """Root keys, a threshold, and just enough of the keys to reach it."""
    keys = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique_by=lambda key: key.public))
    threshold = draw(st.integers(1, len(keys)))
    return keys, threshold, draw(st.permutations(keys))[:threshold]


@st.composite
def chains(draw):
    """Root documents from version 1 on, signed by just enough keys, with those keys: (root, old signers, new)."""
    versions = draw(st.lists(holders(), min_size=2, max_size=5))
    before = []
    links = []
    for number, (keys, threshold, signers) in enumerate(versions, 1):
        links.append((root_of(*keys, threshold=threshold, version=number), before, signers))
        before = signers
    return links


def sign_link(root, before, signers):
    unique = {key.public: key for key in (*before, *signers)}
    return sign_root(root, *unique.values())


@given(chains())
def test_any_chain_leads_to_its_newest_version(chain):
    assert follow([sign_link(*link) for link in chain]) == chain[-1][0]


def without_a_signature(chain, at, data):
    """One signature is missing to the quorum of the version, or of the one before it; everybody else has signed."""
    root = chain[at][0]
    short = data.draw(st.sampled_from([chain[at - 1][0], root]))
    mine = [key for key in KEYS if key.public in short.root_keys]
    others = [key for key in KEYS if key.public not in short.root_keys]
    return sign_root(root, *others, *data.draw(st.permutations(mine))[: short.threshold - 1])


def by_new_keys_alone(chain, at, data):
    strangers = [key for key in KEYS if key.public not in chain[at - 1][0].root_keys]
    mine = data.draw(st.lists(st.sampled_from(strangers), min_size=1, unique_by=lambda key: key.public))
    return sign_root(msgspec.structs.replace(chain[at][0], root_keys=tuple(k.public for k in mine), threshold=1), *mine)


def skipping_a_version(chain, at, data):
    root, before, signers = chain[at]
    return sign_link(
        msgspec.structs.replace(root, version=root.version + data.draw(st.integers(1, 9))), before, signers
    )


def saying_a_version_again(chain, at, data):
    root, before, signers = chain[at]
    return sign_link(msgspec.structs.replace(root, version=data.draw(st.integers(1, at))), before, signers)


def of_another_federation(chain, at, data):
    root, before, signers = chain[at]
    return sign_link(
        msgspec.structs.replace(root, federation=data.draw(st.binary(min_size=16, max_size=16))), before, signers
    )


def with_another_suite(chain, at, data):
    root, before, signers = chain[at]
    suite = data.draw(st.sampled_from([SealSuite.HYBRID, SealSuite.CLEAR]))
    return sign_link(msgspec.structs.replace(root, suite=suite), before, signers)


def with_a_changed_byte(chain, at, data):
    blob = bytearray(sign_link(*chain[at]))
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    return bytes(blob)


def cut_short(chain, at, data):
    blob = sign_link(*chain[at])
    return blob[: data.draw(st.integers(0, len(blob) - 1))]


BREAKS = (
    without_a_signature,
    by_new_keys_alone,
    skipping_a_version,
    saying_a_version_again,
    of_another_federation,
    with_another_suite,
    with_a_changed_byte,
    cut_short,
)


@pytest.mark.parametrize("break_link", BREAKS)
@given(chain=chains(), data=st.data())
def test_any_chain_with_a_broken_link_is_refused(break_link, chain, data):
    at = data.draw(st.integers(1, len(chain) - 1))
    blobs = [sign_link(*link) for link in chain]
    blobs[at] = break_link(chain, at, data)
    with pytest.raises(Refused):
        follow(blobs)


TWO_OF_THREE = root_of(A, B, C, threshold=2)


def test_two_of_three_change_keys_and_threshold_from_version_to_version():
    second = root_of(C, D, E, threshold=3, version=2)
    third = root_of(E, version=3)
    chain = [
        sign_root(TWO_OF_THREE, A, B),
        sign_root(second, B, C, D, E),
        sign_root(third, C, D, E),
    ]
    assert follow(chain) == third


def test_a_lost_key_is_replaced_by_the_others():
    replaced = root_of(A, B, D, threshold=2, version=2)
    assert open_next_root(sign_root(replaced, A, B), TWO_OF_THREE) == replaced
    assert refusal_of(sign_root(replaced, A, D), TWO_OF_THREE) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("stolen", [[A], [B], [C], [A, A], []])
@pytest.mark.parametrize("keep", [True, False])
def test_who_has_one_key_too_few_gets_nowhere(stolen, keep):
    """Neither with a root of the thief's own keys, nor with one that keeps ours and only names another aggregator."""
    root_keys, threshold = ((A, B, C), 2) if keep else ((D,), 1)
    wanted = root_of(*root_keys, threshold=threshold, version=2)
    assert refusal_of(sign_root(wanted, *stolen, D, E), TWO_OF_THREE) is Reason.BAD_SIGNATURE


def test_a_lower_threshold_still_needs_the_old_one():
    lowered = root_of(A, B, C, threshold=1, version=2)
    assert refusal_of(sign_root(lowered, A), TWO_OF_THREE) is Reason.BAD_SIGNATURE
    assert open_next_root(sign_root(lowered, A, C), TWO_OF_THREE) == lowered


def test_a_version_that_only_the_new_keys_signed_is_refused():
    assert refusal_of(sign_root(root_of(D, E, threshold=2, version=2), D, E), TWO_OF_THREE) is Reason.BAD_SIGNATURE


def test_a_version_that_only_the_old_keys_signed_is_refused():
    """The new ones may not exist, and nobody could ever sign the next version."""
    assert refusal_of(sign_root(root_of(D, version=2), A, B), TWO_OF_THREE) is Reason.BAD_SIGNATURE


def test_signatures_are_added_one_by_one_on_hosts_that_never_meet():
    second = root_of(B, D, threshold=2, version=2)
    blob = sign_root(second)
    for key in (A, D, B):
        assert refusal_of(blob, TWO_OF_THREE) is Reason.BAD_SIGNATURE
        blob = add_root_signature(blob, key)
    assert open_next_root(blob, TWO_OF_THREE) == second
    assert add_root_signature(blob, A) == blob


def test_a_signature_for_another_version_does_not_count():
    blob = sign_root(root_of(A, B, C, threshold=2, version=2), A, B)
    body, signatures = msgpack.decode(blob, tuple)
    other, _ = msgpack.decode(
        sign_root(root_of(A, B, C, threshold=2, version=2, federation=b"F" * 16, aggregators=())), tuple
    )
    assert other != body
    assert refusal_of(msgpack.encode((other, signatures)), TWO_OF_THREE) is Reason.BAD_SIGNATURE


def test_a_false_signature_under_a_keys_name_gives_way_to_the_true_one():
    body, _ = msgpack.decode(sign_root(TWO_OF_THREE), tuple)
    blob = msgpack.encode((body, ((A.id, bytes(64)), (A.id, bytes(64)), (D.id, bytes(64)))))
    assert root_signers(blob, TWO_OF_THREE.root_keys) == frozenset()
    for key in (A, B):
        blob = add_root_signature(blob, key)
    assert root_signers(blob, TWO_OF_THREE.root_keys) == {A.public, B.public}
    assert open_root(blob, sha256(blob).digest()) == TWO_OF_THREE


def test_there_is_an_end_to_signatures():
    body, _ = msgpack.decode(sign_root(TWO_OF_THREE), tuple)
    blob = msgpack.encode((body, tuple((bytes([number]) * 8, bytes(64)) for number in range(32))))
    with pytest.raises(Refused) as refusal:
        add_root_signature(blob, A)
    assert refusal.value.reason is Reason.TOO_LARGE
