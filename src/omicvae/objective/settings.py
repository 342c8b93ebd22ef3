"""What the settings of an objective and of its adversaries share: how they are given, and lengths within a run."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Self

from omicvae._core import SettingError, check_fields, integral, real
from omicvae._core.words import unknown_settings


class Settings:
    """Base of a dataclass of settings."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: Self | Mapping[str, Any] | None) -> Self:
        """Accept settings, a mapping of them (an R list, say), or None for the defaults."""
        if isinstance(value, cls):
            return value
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # each heir is a dataclass
        if not isinstance(value, Mapping | None):
            raise SettingError(f"{cls.__name__} takes a mapping of settings ({', '.join(names)}), got {value!r}.")
        unknown = [name for name in value or () if name not in names]
        if unknown:
            raise unknown_settings(cls.__name__, unknown, names)
        return cls(**(value or {}))

    def given(self, *names: str) -> dict[str, Any]:
        """Return those of these settings (default: of all) that differ from their defaults, as a user writes them."""
        defaults = {field.name: field.default for field in fields(self)}  # type: ignore[arg-type]
        given = {name: value for name in names or defaults if (value := getattr(self, name)) != defaults[name]}
        return {name: _written(value) for name, value in given.items()}

    def check_length(self, name: str, what: str) -> None:
        """Hold that ``name`` (a fraction of the run), ``name_epochs`` and ``name_steps`` are one at most, and ≥ 0."""
        given = [n for n in (name, f"{name}_epochs", f"{name}_steps") if getattr(self, n) is not None]
        if len(given) > 1:
            raise SettingError(f"Give one {what}, got {' and '.join(given)}.")
        for n in given:
            check_fields(self, integral if n.endswith("_steps") else real, n, minimum=0)

    def in_steps(self, name: str, default: float, total_steps: int, steps_per_epoch: int) -> int:
        """Return that length in steps; ``default`` is the fraction where none is given."""
        fraction, epochs, steps = (getattr(self, n) for n in (name, f"{name}_epochs", f"{name}_steps"))
        if steps is not None:
            return int(steps)
        if epochs is not None:
            return round(epochs * steps_per_epoch)
        return round((default if fraction is None else fraction) * total_steps)


def _written(value: Any) -> Any:
    """Return settings as a mapping, a tuple as a list."""
    return value.given() if isinstance(value, Settings) else list(value) if isinstance(value, tuple) else value
