"""Keys in few bytes, which no garbage collection looks into, and what many of them share.

A process decides with compiled chains, and has as many as are in use; the other keys that it knows
are kept like this, as they were read. Unpacking one costs a few microseconds, asking for it a
hundred or more.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from math import inf
from operator import attrgetter
from struct import Struct as Layout
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from keybound.core.errors import InputError
from keybound.core.limits import Lifetime, Limits
from keybound.core.nodes import APIKey, decode_node, encode_node
from keybound.core.terms import TERMS_MAX, Terms

if TYPE_CHECKING:
    from keybound.core.limits import Clause

NUMBERED_MAX = 2_048
"""Different limits that are kept once for all keys that have them; a lifetime does not count."""

_HEAD = Layout(">QHd")
"""The revision, the number of the terms (0: none), and when they end."""

_DROPPED_AT_ONCE = 1_024
_RECORD = ord("{")


class _Unpacked(
    APIKey,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    array_like=True,
    gc=False,
    tag=str(APIKey.__struct_config__.tag),
):
    """A key whose values were packed without their names."""


_values = attrgetter(*APIKey.__struct_fields__)
_LIMITS = APIKey.__struct_fields__.index("limits")


class PackedKey(msgspec.Struct, gc=False):
    """A key on which terms alone decide, until ``ends`` (POSIX seconds), as it was read at ``rev``.

    ``id`` is all of it that was unpacked.
    """

    id: str
    rev: int
    terms: Terms
    ends: float
    _record: bytes
    _unpack: Callable[[bytes], APIKey]
    _key: APIKey | None = None

    def unpack(self) -> APIKey:
        """Return all of it, the same object every time."""
        if self._key is None:
            self._key = self._unpack(self._record)
        return self._key


class ReadKey(NamedTuple):
    """A key as it was read at a revision."""

    rev: int
    key: APIKey


class PackedKeys:
    """Up to ``size_max`` keys under the indexes of their credentials; those put in first go first.

    Not safe for threads by itself, and no judge of what it holds: whoever takes a key out checks
    that it was read at the floor of its node.
    """

    __slots__ = (
        *("_decode", "_limits", "_numbers", "_packed", "_size_max"),
        *("_terms", "_terms_numbers"),
    )

    def __init__(self, size_max: int) -> None:
        """Hold nothing."""
        self._size_max = size_max
        self._packed: dict[bytes, bytes] = {}
        self._limits: list[Limits] = []
        self._numbers: dict[tuple[Clause, ...], int] = {}
        self._terms: list[Terms | None] = [None]
        self._terms_numbers: dict[Terms, int] = {}
        self._decode = msgspec.msgpack.Decoder(_Unpacked, dec_hook=self._limits_of).decode

    def __len__(self) -> int:
        """Return how many keys are held."""
        return len(self._packed)

    def __contains__(self, index: bytes) -> bool:
        """Return whether a key is held."""
        return index in self._packed

    def put(
        self,
        index: bytes,
        rev: int,
        key: APIKey,
        *,
        terms: Terms | None = None,
        ends: float = inf,
    ) -> None:
        """Hold a key that was read at a revision, unless there is no room for any, or for it.

        ``terms`` are what alone decides on it until ``ends``, if that is so.
        """
        if self._size_max <= 0:
            return
        try:
            record = self._pack(key)
        except (InputError, RecursionError):  # too long to be read, or nested too deep from here
            return
        packed = self._packed
        if len(packed) >= self._size_max and index not in packed:
            # Many at once: a dictionary looks for its first entry past all that are gone.
            for first in [*islice(packed, min(_DROPPED_AT_ONCE, 1 + self._size_max // 64))]:
                del packed[first]
        number = self._number_of(terms) if _shows_id(record, key.id) else 0
        packed[index] = _HEAD.pack(rev, number, ends) + record

    def get(self, index: bytes) -> ReadKey | None:
        """Return a key as it was put in, if it is held, and not nested too deep to be read here."""
        packed = self._packed.get(index)
        if packed is None:
            return None
        try:
            return ReadKey(_HEAD.unpack_from(packed)[0], self._unpack(packed))
        except RecursionError:
            return None

    def peek(self, index: bytes) -> PackedKey | None:
        """Return a key as it was put in, if terms alone decide on it, without unpacking it."""
        packed = self._packed.get(index)
        if packed is None:
            return None
        head: tuple[int, int, float] = _HEAD.unpack_from(packed)
        rev, number, ends = head
        terms = self._terms[number]
        if terms is None:
            return None
        end = _ID + 1 + (packed[_ID] & _SHORT_MAX)
        return PackedKey(packed[_ID + 1 : end].decode(), rev, terms, ends, packed, self._unpack)

    def drop(self, index: bytes) -> None:
        """Hold this key no longer, if it is held."""
        self._packed.pop(index, None)

    def drop_all(self) -> None:
        """Hold no key any longer; those that were taken out can still be unpacked."""
        self._packed.clear()

    def _pack(self, key: APIKey) -> bytes:
        """Return the values of a key with a number for its limits, or else its record."""
        lives = key.limits.lives
        number = self._number(key.limits, lives) if len(lives) <= 1 else None
        if number is not None:
            life = [(each.not_before, each.expires_at) for each in lives]
            values: list[Any] = [*_values(key)]
            values[_LIMITS] = number, *life
            try:
                return _encode((_Unpacked.__struct_config__.tag, *values))
            except (OverflowError, msgspec.MsgspecError):  # metadata of larger numbers, say
                pass
        return encode_node(key)

    def _number(self, limits: Limits, lives: tuple[Lifetime, ...]) -> int | None:
        if not limits.built_in:  # whether those of a site's own are equal is not for us to ask
            return None
        lasting = limits.clauses[len(lives) :]
        number = self._numbers.get(lasting)
        if number is None and len(self._limits) < NUMBERED_MAX:
            number = len(self._limits)
            self._limits.append(limits.living_with(()))
            self._numbers[lasting] = number  # last: whoever is interrupted gave nobody a number
        return number

    def _number_of(self, terms: Terms | None) -> int:
        if terms is None:
            return 0
        number = self._terms_numbers.get(terms, 0)
        if not number and len(self._terms) <= TERMS_MAX:
            number = len(self._terms)
            self._terms.append(terms)
            self._terms_numbers[terms] = number  # last, as with limits
        return number

    def _unpack(self, packed: bytes) -> APIKey:
        record = memoryview(packed)[_HEAD.size :]
        if record[0] != _RECORD:
            return self._decode(record)
        node = decode_node(bytes(record))
        assert isinstance(node, APIKey)  # noqa: S101 - nothing else was packed
        return node

    def _limits_of(self, _kind: type, packed: Any) -> Limits:  # noqa: ANN401 - as msgspec has it
        number: int = packed[0]
        lives = tuple([Lifetime(*each) for each in packed[1:]])
        return self._limits[number].living_with(lives)


_encode = msgspec.msgpack.Encoder().encode

_ARRAY = 3
"""Bytes before the values of an array of more than fifteen, as MessagePack has them."""

_ID_IN_RECORD = _ARRAY + len(_encode(_Unpacked.__struct_config__.tag))
"""Where the id begins, with a byte that has its length."""

_ID = _HEAD.size + _ID_IN_RECORD

_SHORT, _SHORT_MAX = 0xA0, 31
"""What that byte is besides the length of a short text, and how long one may be."""


def _shows_id(record: bytes, key_id: str) -> bool:
    """Return whether the id is where it is looked for."""
    name = key_id.encode()
    short = len(name) <= _SHORT_MAX
    return short and record.startswith(bytes([_SHORT | len(name)]) + name, _ID_IN_RECORD)
