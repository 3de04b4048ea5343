"""JSON as Millrace writes it: for tasks, results and progress.

The rules are those of ``JSON.stringify``, as far as Python has the same values: NaN and infinities are null. Beyond that, numpy's
scalars and arrays are numbers and lists, dataclasses are objects, and dates are text in ISO 8601.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from typing import Any


def to_json(value: object) -> str:
    """The value as compact JSON. Raises ``TypeError`` or ``ValueError`` for what JSON cannot express."""
    try:
        return _encode(value)
    except ValueError as error:
        if "circular" in str(error).lower():
            raise
        # NaN, which costs nothing as long as there is none
        return _encode(_finite(value))


def _default(value: object) -> object:
    # numpy has it for scalars and arrays alike
    tolist = getattr(value, "tolist", None)
    if callable(tolist):
        return tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON: make it a number, a text, a list or a dict")


_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_default
).encode


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, dict):
        return {key: _finite(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(member) for member in value]
    return _finite(_default(value))
