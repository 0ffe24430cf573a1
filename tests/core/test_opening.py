"""Opening a store: with its own secrets, or not at all."""

from __future__ import annotations

import pytest

from keybound.core.errors import SettingsError
from keybound.core.keys import Peppers
from keybound.core.opening import open_store
from keybound.core.secret import Secret

FIRST = Secret("the-first-secret-0123456789-abcdef")
SECOND = Secret("the-second-secret-0123456789-abcde")


def test_a_store_is_the_same_installation_however_often_it_is_opened(world):
    """Its random id is made once."""
    first = world.do(open_store(Peppers(None)))
    again = world.do(open_store(Peppers(None)))
    assert first == again
    assert (len(first.id), first.fingerprint) == (16, None)


def test_the_first_secret_is_noted_and_nothing_of_it_but_a_fingerprint(world):
    """The next process can tell whether it has the same one."""
    world.do(open_store(Peppers(FIRST)))
    opened = world.do(open_store(Peppers(FIRST)))
    assert opened.fingerprint == Peppers(FIRST).fingerprints()[0]
    assert FIRST.reveal() not in repr(opened)


@pytest.mark.parametrize("peppers", [Peppers(SECOND), Peppers(None)], ids=["other", "none"])
def test_another_secret_or_none_is_refused_at_once(world, peppers):
    """No key would be found with it, and the message says what to do."""
    world.do(open_store(Peppers(FIRST)))
    with pytest.raises(SettingsError, match=r"secret: is not the one .*retired_secrets"):
        world.do(open_store(peppers))


def test_a_new_secret_next_to_the_old_one_becomes_the_one_in_use(world):
    """After that the old one alone is refused: keys are made with the new one."""
    world.do(open_store(Peppers(FIRST)))
    world.do(open_store(Peppers(SECOND, [FIRST])))
    world.do(open_store(Peppers(SECOND)))
    with pytest.raises(SettingsError):
        world.do(open_store(Peppers(FIRST)))
