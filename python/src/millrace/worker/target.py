"""Finds what runs a task: one function, or the tasks of a module by their names."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from ..errors import FinalError
from ..tasks import Task


class LoadError(Exception):
    """The target cannot be used. The message is one line for the person who named it."""


class Function(NamedTuple):
    """A function as it is called for a task."""

    call: Callable[..., Any]
    signature: inspect.Signature
    takes_context: bool
    is_async: bool
    """None of it runs before what it returns is awaited."""
    name: str | None
    """Of a task that calls it with arguments; ``None`` for a plain function."""


Work: TypeAlias = tuple[Function, list[Any] | tuple[Any, ...], dict[str, Any]]
"""A function and its arguments."""


class Target:
    """``module:function``, or ``module`` with all its tasks. Raises ``LoadError`` when it is not there, or is none."""

    def __init__(self, spec: str) -> None:
        name, _, attribute = spec.partition(":")
        if name.endswith(".py") or "/" in name:
            raise LoadError(
                f"{name} is a file, not a module: write {name.rsplit('/', 1)[-1].removesuffix('.py')}"
            )
        module = _import(name)
        self.spec = spec
        self.only: Function | None = None
        self.named: dict[str, Function] = {}
        if attribute:
            self.only = _function(_attribute(module, name, attribute), spec)
            if self.only.name is not None:
                self.named[self.only.name] = self.only
            return
        for found in vars(module).values():
            if isinstance(found, Task):
                function = _function(found, f"{name}:{found.name}")
                if self.named.setdefault(found.name, function).call is not function.call:
                    raise LoadError(
                        f"module {name} has two tasks called {found.name}: give one another name, @task(name=…)"
                    )
        if not self.named:
            raise LoadError(
                f"module {name} has no tasks: mark functions with @task, or name one: {name}:function"
            )
        if len(self.named) == 1:
            [self.only] = self.named.values()

    @property
    def takes_context(self) -> bool:
        """Whether a function wants to know more than its task."""
        return any(
            function.takes_context for function in (self.only, *self.named.values()) if function is not None
        )

    def find(self, value: object) -> Work:
        """What runs a task with this value. Raises ``FinalError`` when nothing does."""
        if self.named and isinstance(value, dict):
            name = value.get("task")
            if type(name) is str:
                function = self.named.get(name)
                if function is not None:
                    return _work(function, value.get("args", ()), value.get("kwargs", {}))
        if self.only is not None:
            return self.only, (value,), {}
        names = ", ".join(sorted(self.named))
        found = (
            f"task {name!r} is not among them"
            if isinstance(value, dict) and "task" in value
            else "this one names none"
        )
        raise FinalError(f'a task must name one of {names} in its field "task": {found}')


def parse(raw: bytes) -> Any:
    """The value of a JSON object or array, else the text, else the bytes: as every handler gets it."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return raw
    if raw.startswith((b"{", b"[")):
        try:
            # `json.loads` spends more on white space around the value than on most tasks
            value, end = _decoder.raw_decode(text)
            if end == len(text):
                return value
        except (ValueError, RecursionError):
            return text
    if text.lstrip(" \t\r\n")[:1] in ("{", "["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


_decoder = json.JSONDecoder()


def _work(function: Function, args: object, kwargs: object) -> Work:
    if not isinstance(args, (list, tuple)) or not isinstance(kwargs, dict):
        raise FinalError(
            f'the arguments of {function.name} are no arguments: "args" is a list, "kwargs" an object'
        )
    return function, args, kwargs


def _import(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # the module itself, or the package that it would be in
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise LoadError(
                f"there is no module {name} in the working directory or in this Python's packages (PYTHONPATH)"
            ) from None
        raise


def _attribute(module: object, name: str, attribute: str) -> object:
    found = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise LoadError(f"module {name} has no function {attribute}") from None
    return found


def _function(found: object, spec: str) -> Function:
    if isinstance(found, Task):
        takes_context = "context" in found.signature.parameters
        return Function(
            found.function,
            found.signature,
            takes_context,
            inspect.iscoroutinefunction(found.function),
            found.name,
        )
    if not callable(found):
        raise LoadError(f"{spec} is no function but a {type(found).__name__}")
    try:
        signature = inspect.signature(found)
    except ValueError:
        # of a function in C
        return Function(found, inspect.Signature(), False, False, None)
    takes_context = "context" in signature.parameters
    try:
        signature.bind(None, **({"context": None} if takes_context else {}))
    except TypeError:
        raise LoadError(
            f"{spec} must take the task, and at most a context: def function(task, context)"
        ) from None
    return Function(found, signature, takes_context, inspect.iscoroutinefunction(found), None)
