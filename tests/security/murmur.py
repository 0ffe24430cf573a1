"""Two texts with one MurmurHash3 (x86, 32 bits): what a lookup by such a hash would confuse."""

from __future__ import annotations

import os

from keybound.core.keys import BASE62

_WORD = 0xFFFFFFFF
_FIRST, _SECOND = 0xCC9E2D51, 0x1B873593
_FIVE, _ADDED = 5, 0xE6546B64


def murmur32(data: bytes) -> int:
    """Return the hash with the seed 0."""
    whole = len(data) // 4 * 4
    state = _words(data[:whole])
    state ^= _scrambled(int.from_bytes(data[whole:], "little"))
    return _finish(state ^ len(data))


def collision(secret: str, prefix: str) -> str:
    """Return another text that begins with a prefix and has the same hash.

    The last four characters are solved for: most solutions are no text, so it takes some tries.
    """
    wanted = murmur32(secret.encode())
    allowed = frozenset(BASE62.encode())
    length = (len(secret) - 4) // 4 * 4 - len(prefix) - 1
    while True:
        drawn = "".join(BASE62[byte % 62] for byte in os.urandom(length))
        start = f"{prefix}_{drawn}".encode()
        found = _solve(start, wanted)
        if allowed.issuperset(found):
            return (start + found).decode()


def _solve(start: bytes, wanted: int) -> bytes:
    """Return the four bytes after ``start`` that make the hash the wanted one."""
    after = _unfinish(wanted) ^ (len(start) + 4)
    before = _rotate((after - _ADDED) * pow(_FIVE, -1, 1 << 32) & _WORD, 32 - 13)
    word = (before ^ _words(start)) * pow(_SECOND, -1, 1 << 32) & _WORD
    word = _rotate(word, 32 - 15) * pow(_FIRST, -1, 1 << 32) & _WORD
    return word.to_bytes(4, "little")


def _words(data: bytes) -> int:
    state = 0
    for at in range(0, len(data), 4):
        word = _scrambled(int.from_bytes(data[at : at + 4], "little"))
        state = (_rotate(state ^ word, 13) * _FIVE + _ADDED) & _WORD
    return state


def _scrambled(word: int) -> int:
    return _rotate(word * _FIRST & _WORD, 15) * _SECOND & _WORD


def _rotate(word: int, by: int) -> int:
    return (word << by | word >> (32 - by)) & _WORD


def _finish(state: int) -> int:
    state = (state ^ state >> 16) * 0x85EBCA6B & _WORD
    state = (state ^ state >> 13) * 0xC2B2AE35 & _WORD
    return state ^ state >> 16


def _unfinish(state: int) -> int:
    state ^= state >> 16
    state = state * pow(0xC2B2AE35, -1, 1 << 32) & _WORD
    state ^= state >> 13 ^ state >> 26
    state = state * pow(0x85EBCA6B, -1, 1 << 32) & _WORD
    return state ^ state >> 16
