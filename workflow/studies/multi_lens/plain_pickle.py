"""CIFAR's python batches read without unpickling: the file's opcodes are interpreted, and nothing is ever called.

A pickle is a program that may call anything. The batches need little of the language: text, bytes, numbers, lists,
tuples, one dictionary, and numpy's way to write a uint8 array down. Whatever else a file asks for is refused.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The names that numpy and Python 2 leave in such files, and what they stand for here. None of them is looked up.
_NAMES = {
    "numpy.core.multiarray _reconstruct": "reconstruct",
    "numpy._core.multiarray _reconstruct": "reconstruct",
    "numpy.core.numeric _frombuffer": "frombuffer",
    "numpy._core.numeric _frombuffer": "frombuffer",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
}
_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_BYTES = {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS, _GETS = {"BINPUT", "LONG_BINPUT"}, {"BINGET", "LONG_BINGET"}


@dataclass(frozen=True)
class _Name:
    """One of `_NAMES`, on the stack."""

    meaning: str


@dataclass
class _Array:
    """An array that the file announces, and later fills."""

    values: NDArray[np.uint8] | None = None


class _Bytes:
    """The dtype uint8, the only one accepted."""


_MARK = object()


def read_plain_pickle(content: bytes) -> Any:
    """Read a pickle that holds nothing but plain values and uint8 arrays.

    Parameters
    ----------
    content : bytes
        The whole file. Python 2's strings become bytes.

    Returns
    -------
    object
        Dictionaries, lists, tuples, text, bytes, whole numbers, and uint8 arrays (read-only).

    Raises
    ------
    ValueError
        If the file is cut off, is no pickle, or asks for anything else; the message names it.
    """
    machine = _Machine(len(content))
    try:
        for opcode, argument, _ in pickletools.genops(content):
            machine.step(opcode.name, argument)
        return _filled(machine.stack.pop())
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("the pickle is damaged") from error


class _Machine:
    """The stack and the memo of a pickle in the reading."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        # Bytes that texts were turned into: a small file could ask for the same long text again and again.
        self.encoded = 0

    def step(self, name: str, argument: Any) -> None:
        """Do what one opcode says, or refuse it."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _BYTES:
            self.stack.append(bytes(argument))
        elif name in ("BINSTRING", "SHORT_BINSTRING"):
            self.stack.append(argument.encode("latin-1"))
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _TUPLES:
            self.stack.append(tuple(self._pop(_TUPLES[name])))
        elif name in _PUTS:
            self.memo[argument] = self.stack[-1]
        elif name in _GETS:
            self.stack.append(self.memo[argument])
        elif name not in ("PROTO", "FRAME", "STOP"):
            rare = getattr(self, f"_do_{name.lower()}", None)
            if rare is None:
                raise ValueError(f"the pickle asks for {name}, which no image set needs")
            rare(argument)

    def _pop(self, count: int) -> list[Any]:
        taken = self.stack[len(self.stack) - count :]
        if len(taken) != count or any(value is _MARK for value in taken):
            raise IndexError
        del self.stack[len(self.stack) - count :]
        return taken

    def _pop_to_mark(self) -> list[Any]:
        for place in reversed(range(len(self.stack))):
            if self.stack[place] is _MARK:
                taken = self.stack[place + 1 :]
                del self.stack[place:]
                return taken
        raise IndexError

    def _do_mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def _do_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _do_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._pop_to_mark()))

    def _do_append(self, _: Any) -> None:
        (value,) = self._pop(1)
        _expect(self.stack[-1], list).append(value)

    def _do_appends(self, _: Any) -> None:
        values = self._pop_to_mark()
        _expect(self.stack[-1], list).extend(values)

    def _do_setitem(self, _: Any) -> None:
        self._set(self._pop(2))

    def _do_setitems(self, _: Any) -> None:
        self._set(self._pop_to_mark())

    def _set(self, values: list[Any]) -> None:
        target = _expect(self.stack[-1], dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_expect(key, str, bytes)] = value

    def _do_global(self, name: str) -> None:
        if name not in _NAMES:
            raise ValueError(f"the pickle asks for {name.replace(' ', '.')}, which no image set needs")
        self.stack.append(_Name(_NAMES[name]))

    def _do_stack_global(self, _: Any) -> None:
        module, name = self._pop(2)
        self._do_global(f"{_expect(module, str)} {_expect(name, str)}")

    def _do_reduce(self, _: Any) -> None:
        name, arguments = self._pop(2)
        meaning, arguments = _expect(name, _Name).meaning, _expect(arguments, tuple)
        if meaning == "reconstruct":
            self.stack.append(_Array())
        elif meaning == "dtype":
            if arguments[0] not in ("u1", b"u1"):
                raise ValueError(f"the pickle holds an array of {arguments[0]!r}, where uint8 is expected")
            self.stack.append(_Bytes())
        elif meaning == "encode":
            # How Python 3 writes bytes for Python 2.
            content = _expect(arguments[0], str).encode("latin-1")
            self.encoded += len(content)
            if self.encoded > self.limit:
                raise ValueError("the pickle unpacks to more than it holds")
            self.stack.append(content)
        elif meaning == "frombuffer":
            content, dtype, shape, order = arguments
            self.stack.append(_Array(_array(content, dtype, shape, order in ("F", b"F"))))
        else:
            raise ValueError(f"the pickle calls numpy.{meaning}, which no image set needs")

    def _do_build(self, _: Any) -> None:
        (state,) = self._pop(1)
        target = self.stack[-1]
        if isinstance(target, _Array):
            _, shape, dtype, fortran, content = state
            target.values = _array(content, dtype, shape, bool(fortran))
        else:
            # What is left to say of uint8 (no byte order, no fields) changes nothing.
            _expect(target, _Bytes)


def _array(content: bytes, dtype: Any, shape: tuple[int, ...], fortran: bool) -> NDArray[np.uint8]:
    _expect(dtype, _Bytes)
    sides = [_expect(side, int) for side in _expect(shape, tuple)]
    if min(sides, default=0) < 0 or math.prod(sides) != len(_expect(content, bytes)):
        raise ValueError(f"the pickle holds {len(content)} bytes for an array of {tuple(sides)}")
    return np.frombuffer(content, np.uint8).reshape(sides, order="F" if fortran else "C")


def _expect(value: Any, *kinds: type) -> Any:
    if not isinstance(value, kinds):
        raise TypeError
    return value


def _filled(value: Any) -> Any:
    """A dictionary with arrays in the place of what announced them; a batch holds none deeper down."""
    if isinstance(value, dict):
        return {key: one.values if isinstance(one, _Array) else one for key, one in value.items()}
    return value.values if isinstance(value, _Array) else value
