"""Threshold expressions such as `1.5*std(Wave.F1)`: arithmetic over the filter's planes, and nothing else."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from parfocal.errors import BadInputError

Value = Any
"""A number or a picture of numbers."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_][\w.]*)|(?P<sign>[-+*/^()]))"
)
_LONGEST = 500
_DEEPEST = 40

_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "std": lambda v: np.std(v, dtype=np.float64),
    "mean": lambda v: np.mean(v, dtype=np.float64),
    "median": np.median,
    "max": np.max,
    "min": np.min,
    "sum": lambda v: np.sum(v, dtype=np.float64),
    "abs": np.abs,
    "sqrt": np.sqrt,
}
_SUMS = {"+": operator.add, "-": operator.sub}
_PRODUCTS = {"*": operator.mul, "/": operator.truediv}


def evaluate(expression: str, planes: Mapping[str, Callable[[], Value]]) -> Value:
    """Return what an expression comes to: a number, or a picture of numbers.

    Known are numbers, + - * / ^ and brackets, the names of `planes`, and std, mean, median, max, min, sum, abs and
    sqrt of one argument; std is that of the whole population.

    Parameters
    ----------
    expression : str
        At most 500 characters.
    planes : mapping of str to function
        Pictures by name; a function is called when its name is met.

    Raises
    ------
    BadInputError
        It is no such expression, or it comes to no number.
    """
    return _Parser(expression, planes).whole()


def check_expression(expression: str, names: tuple[str, ...]) -> None:
    """Raise `BadInputError` where `evaluate` would for any planes of these names."""
    one = np.ones((1, 1))
    with np.errstate(all="ignore"):
        _Parser(expression, {name: (lambda: one) for name in names}, finite=False).whole()


class _Parser:
    """Recursive descent over one expression; it works values out as it goes."""

    def __init__(self, text: str, planes: Mapping[str, Callable[[], Value]], finite: bool = True) -> None:
        self.text, self.planes, self.finite = text, planes, finite
        self.at, self.depth = 0, 0
        if len(text) > _LONGEST:
            raise BadInputError(f"threshold: an expression of {len(text)} characters, {_LONGEST} at most")
        self.token: tuple[str, str] = ("", "")
        self._next()

    def whole(self) -> Value:
        value = self._sum()
        if self.token[0]:
            raise self._unexpected()
        if self.finite and not np.isfinite(value).all():
            raise BadInputError(f"threshold {self.text!r}: comes to no number")
        return value

    def _next(self) -> None:
        if not self.text[self.at :].strip():
            self.token = ("", "")
            return
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            rest = self.text[self.at :].strip()
            raise BadInputError(f"threshold {self.text!r}: {rest[0]!r} is not understood")
        self.at = found.end()
        self.token = (str(found.lastgroup), str(found[str(found.lastgroup)]))

    def _unexpected(self) -> BadInputError:
        what = repr(self.token[1]) if self.token[0] else "its end"
        return BadInputError(f"threshold {self.text!r}: {what} was not expected; an example is 1.5*std(Wave.F1)")

    def _sum(self) -> Value:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise BadInputError(f"threshold: brackets more than {_DEEPEST} deep")
        value = self._product()
        while self.token[0] == "sign" and self.token[1] in _SUMS:
            work = _SUMS[self.token[1]]
            self._next()
            value = work(value, self._product())
        self.depth -= 1
        return value

    def _product(self) -> Value:
        value = self._signed()
        while self.token[0] == "sign" and self.token[1] in _PRODUCTS:
            work = _PRODUCTS[self.token[1]]
            self._next()
            other = self._signed()
            if work is operator.truediv and np.any(np.asarray(other) == 0):
                raise BadInputError(f"threshold {self.text!r}: divides by 0")
            value = work(value, other)
        return value

    def _signed(self) -> Value:
        negative = False
        while self.token in (("sign", "-"), ("sign", "+")):
            negative ^= self.token[1] == "-"
            self._next()
        value = self._power()
        return -value if negative else value

    def _power(self) -> Value:
        value = self._atom()
        if self.token == ("sign", "^"):
            self._next()
            with np.errstate(all="ignore"):
                value = np.power(np.asarray(value, np.float64), self._atom())
        return value

    def _atom(self) -> Value:
        kind, text = self.token
        if kind == "number":
            self._next()
            return float(text)
        if (kind, text) == ("sign", "("):
            return self._bracket()
        if kind == "name":
            self._next()
            if self.token == ("sign", "("):
                if text not in _FUNCTIONS:
                    known = ", ".join(_FUNCTIONS)
                    raise BadInputError(f"threshold {self.text!r}: no function {text!r}; there are {known}")
                inner = self._bracket()
                with np.errstate(all="ignore"):
                    return _FUNCTIONS[text](inner)
            if text not in self.planes:
                known = ", ".join(self.planes)
                raise BadInputError(f"threshold {self.text!r}: no picture {text!r}; there are {known}")
            return self.planes[text]()
        raise self._unexpected()

    def _bracket(self) -> Value:
        self._next()
        value = self._sum()
        if self.token != ("sign", ")"):
            raise self._unexpected()
        self._next()
        return value
