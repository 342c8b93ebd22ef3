"""Checks of single arguments, shared by everything that a user calls."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, TypeVar

from omicvae._core.errors import SettingError

T = TypeVar("T")


def plain(value: object) -> Any:
    """Python's own form of a scalar of numpy or torch, a 0-d array too; anything else as it is.

    Settings are kept in this form: what looks like a number and is none would train and then not be saved.
    """
    scalar = getattr(value, "shape", None) == () and not getattr(value, "mask", False)  # under a mask is no number
    return value.item() if scalar else value  # type: ignore[attr-defined]


def integral(name: str, value: object, *, minimum: int | None = None) -> int:
    """Return ``value`` as an int; an integral float such as ``5.0`` counts, because R sends doubles.

    Raises
    ------
    SettingError
        If ``value`` is no whole number or lies below ``minimum``.
    """
    value = plain(value)
    whole = isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())
    if isinstance(value, bool) or not whole:
        raise SettingError(f"{name} must be a whole number, got {value!r}.")
    number = int(value)  # type: ignore[call-overload]
    if minimum is not None and number < minimum:
        raise SettingError(f"{name} must be at least {minimum}, got {number}.")
    return number


def real(name: str, value: object, *, minimum: float = -math.inf, maximum: float = math.inf) -> float:
    """Return ``value`` as a finite float within bounds.

    Raises
    ------
    SettingError
        If ``value`` is no number, not finite, or out of bounds.
    """
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(float(value)):
        raise SettingError(f"{name} must be a finite number, got {value!r}.")
    number = float(value)
    if not minimum <= number <= maximum:
        bounds = f"at least {minimum:g}" if maximum == math.inf else f"from {minimum:g} to {maximum:g}"
        raise SettingError(f"{name} must be {bounds}, got {value!r}.")
    return number


def flag(name: str, value: object) -> bool:
    """Return ``value`` as a bool; 0 and 1 count.

    Raises
    ------
    SettingError
        If ``value`` is neither true nor false.
    """
    value = plain(value)
    if not isinstance(value, bool | int | float) or value not in (0, 1):
        raise SettingError(f"{name} must be True or False, got {value!r}.")
    return bool(value)


def named_fields(kind: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Take the fields of a settings class out of all arguments of a call, by name."""
    return {setting.name: arguments[setting.name] for setting in fields(kind) if setting.name in arguments}


def check_fields(settings: Any, check: Callable[..., object], *names: str, **bounds: Any) -> None:
    """Put what ``check`` makes of fields of a frozen dataclass in their place; None stays where it is the default."""
    for name in names:
        value = getattr(settings, name)
        if value is not None or settings.__dataclass_fields__[name].default is not None:
            object.__setattr__(settings, name, check(name, value, **bounds))


def choose(name: str, value: object, table: Mapping[str, T] | Iterable[str]) -> T | str:
    """Look ``value`` up in a table of variants; an unknown name lists the choices.

    Returns what a mapping has under that name; of other tables the name.
    """
    value, choices = plain(value), tuple(table)
    if isinstance(value, str) and value in choices:
        return table[value] if isinstance(table, Mapping) else str(value)
    raise SettingError(f"{name}={value!r} is not known. Choose one of: {', '.join(map(repr, choices))}.")
