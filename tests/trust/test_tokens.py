"""Join tokens: whole and unchanged, or refused with a word on what to do; never shown."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.errors import InputError
from fedloom.trust.tokens import PREFIX, Broker, TlsMode, Token, read_token, secret_hash, write_token

SECRET = bytes(range(100, 132))
TOKEN = Token(b"F" * 16, b"I" * 16, SECRET, b"R" * 32, 2_000_000_000, Broker("hub.example", 8884, TlsMode.FEDERATION))
TEXT = write_token(TOKEN)


def refusal(text):
    with pytest.raises(InputError) as caught:
        read_token(text)
    assert TEXT[20:] not in str(caught.value)
    return str(caught.value)


hosts = st.from_regex(r"[A-Za-z0-9._:%-]{1,253}", fullmatch=True)


@given(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**64 - 1),
    hosts,
    st.integers(1, 65_535),
    st.sampled_from(TlsMode),
)
def test_what_is_written_is_read(id_, secret, expires_at, host, port, tls):
    token = Token(id_, id_, secret, secret, expires_at, Broker(host, port, tls))
    assert read_token(write_token(token)) == token


def test_a_token_that_a_mail_program_has_wrapped_is_read():
    assert read_token(f"  {TEXT[:50]}\n   {TEXT[50:90]}\r\n\t{TEXT[90:]}\n") == TOKEN


@pytest.mark.parametrize("length", [0, 5, len(PREFIX), 40, len(TEXT) - 4, len(TEXT) - 1])
def test_a_truncated_token_is_refused_with_the_remedy(length):
    assert "fedloom token new" in refusal(TEXT[:length])


@given(st.integers(len(PREFIX), len(TEXT) - 1), st.sampled_from("ABCxyz019-_!é"))
def test_a_mistyped_character_is_noticed(position, character):
    changed = TEXT[:position] + character + TEXT[position + 1 :]
    try:
        assert read_token(changed) == TOKEN  # the same character, or spare bits of the last one
    except InputError:
        return


@given(st.binary(max_size=300))
def test_nonsense_is_refused(data):
    refusal(PREFIX + base64.urlsafe_b64encode(data).decode().rstrip("="))


@given(st.text(max_size=700))
def test_any_text_is_refused(text):
    refusal(text)


@pytest.mark.parametrize("host", ["", "a b", "hub/x", "höb", "h" * 254])
def test_a_host_that_cannot_be_is_refused_when_written(host):
    with pytest.raises(InputError, match="host"):
        write_token(TOKEN._replace(broker=Broker(host, 1, TlsMode.NONE)))


def test_a_later_version_says_what_to_update():
    from hashlib import sha256

    body = b"\x02" + bytes(120)
    text = PREFIX + base64.urlsafe_b64encode(body + sha256(body).digest()[:4]).decode().rstrip("=")
    assert "update fedloom-edge" in refusal(text)


def test_its_representation_keeps_the_secret():
    assert SECRET.hex() not in repr(TOKEN)
    assert repr(SECRET) not in repr(TOKEN)
    assert repr(TOKEN) == f"Token({'49' * 16})"


def test_what_the_registrar_keeps_is_not_the_secret():
    assert secret_hash(SECRET) != SECRET
    assert secret_hash(SECRET) != secret_hash(SECRET[:-1] + b"\0")
