"""A flat object as MessagePack, which `cmsgpack.unpack` in a Redis script turns into a table: as `queue/workers/pack.ts` packs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Packable: TypeAlias = str | bytes | int | Sequence[str | bytes]


def pack(fields: Mapping[str, Packable | None]) -> bytes:
    """Fields that are ``None`` are left out. Numbers are whole and from 0 to 2^32 - 1; there are 15 fields at most."""
    packed = [_text(name) + _value(value) for name, value in fields.items() if value is not None]
    return bytes([0x80 | len(packed)]) + b"".join(packed)


def _value(value: Packable) -> bytes:
    if isinstance(value, int):
        return b"\xce" + value.to_bytes(4, "big")
    if isinstance(value, (str, bytes)):
        return _text(value)
    return b"\xdd" + len(value).to_bytes(4, "big") + b"".join(map(_text, value))


def _text(value: str | bytes) -> bytes:
    """Redis reads text and bytes alike, as raw bytes."""
    raw = value.encode() if isinstance(value, str) else value
    if len(raw) < 32:
        return bytes([0xA0 | len(raw)]) + raw
    if len(raw) < 1 << 16:
        return b"\xda" + len(raw).to_bytes(2, "big") + raw
    return b"\xdb" + len(raw).to_bytes(4, "big") + raw
