"""JSON as Millrace writes it: for tasks, results and progress.

The rules are those of ``JSON.stringify``, as far as Python has the same values: NaN and infinities are null, half of a surrogate pair is
escaped. Beyond that, numpy's scalars and arrays are numbers and lists, dataclasses are objects, and dates are text in ISO 8601.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(value: object) -> str:
    """The value as compact JSON. Raises ``TypeError`` or ``ValueError`` for what JSON cannot express."""
    try:
        return _encode(value)
    except TypeError as error:
        place = _place_of_error(value)
        raise TypeError(f"{error} (at {place})" if place else str(error)) from None
    except ValueError as error:
        if "circular" in str(error).lower():
            raise
        # NaN, which costs nothing as long as there is none
        return _encode(_finite(value))


def utf8(json: str) -> bytes:
    """JSON as bytes. Half of a surrogate pair, as in a file name that is no Unicode, becomes its escape."""
    return json.encode(errors="backslashreplace")


def json_object(value: object) -> object:
    """The value as a ``dict``, if it is an object in JSON; otherwise as it is."""
    if isinstance(value, dict):
        return value
    is_object = isinstance(value, Mapping) or (
        dataclasses.is_dataclass(value) and not isinstance(value, type)
    )
    return _default(value) if is_object else value


def _default(value: object) -> object:
    # numpy has it for scalars and arrays alike
    tolist = getattr(value, "tolist", None)
    if callable(tolist):
        return tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
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


def _place_of_error(value: object, path: str = "") -> str | None:
    """Where in a value is what JSON cannot express, such as ``kwargs.prices[3]``; ``None`` if that is not found."""
    if value is None or isinstance(value, (str, int, float)):
        return None
    if isinstance(value, dict):
        members = [(f"{path}.{key}" if path else str(key), member) for key, member in value.items()]
        if not all(key is None or isinstance(key, (str, int, float)) for key in value):
            return path
    elif isinstance(value, (list, tuple)):
        members = [(f"{path}[{i}]", member) for i, member in enumerate(value)]
    else:
        try:
            members = [(path, _default(value))]
        except TypeError:
            return path
    return next((place for at, member in members if (place := _place_of_error(member, at))), None)
