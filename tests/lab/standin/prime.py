"""Primes that follow from a text, so that a key that is nobody's secret is the same everywhere."""

from __future__ import annotations

import hashlib
from functools import cache
from math import gcd


@cache
def prime_after(text: str, *, bits: int, exponent: int) -> int:
    """Return the first number after the hash of `text` that is prime and usable with `exponent` in RSA."""
    number = int.from_bytes(hashlib.shake_256(text.encode()).digest(bits // 8), "big")
    number |= (3 << bits - 2) | 1
    while not (_seems_prime(number) and gcd(exponent, number - 1) == 1):
        number += 2
    return number


def _seems_prime(number: int) -> bool:
    """Ask Fermat, of some bases: enough for numbers that nobody chose to deceive."""
    return all(pow(base, number - 1, number) == 1 for base in (2, 3, 5, 7, 11))
