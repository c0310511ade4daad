"""Seals: checksums over facts, and over what other checksums already cover."""

import json
from collections.abc import Mapping, Sequence

from xxhash import xxh3_128_hexdigest

Fact = str | int | bool | None


def seal(facts: Sequence[Fact], checksums: Mapping[str, str], before: str) -> str:
    """A block's seal: over its facts, its tensors' checksums by name, and the seal of the block before it, if any."""
    return xxh3_128_hexdigest(json.dumps([*facts, sorted(checksums.items()), before]).encode())


def seal_before_blocks(facts: Sequence[Fact], checksums: Mapping[str, str]) -> str:
    """How schema 1 sealed a whole state."""
    return xxh3_128_hexdigest(json.dumps([*facts, sorted(checksums.items())]).encode())
