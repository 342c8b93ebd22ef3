"""Which layer and which ``obs`` columns a model uses."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from omicvae._core import SettingError, check_fields, flag

_TUPLES = ("categorical_covariate_keys", "continuous_covariate_keys")


@dataclass(frozen=True, slots=True)
class SetupKeys:
    """Names that ``setup_anndata`` records; a column may play one role only.

    ``layer=None`` is ``adata.X``. The covariate keys may be given as any sequence of names, or as a bare string (R
    sends a vector of length one as a scalar); they are kept as tuples. Labels are for diagnosis and never enter the
    network. With ``round_counts`` entries are rounded to whole numbers when they are read.

    Raises
    ------
    SettingError
        If a name is no string, a column is named twice, or ``round_counts`` is neither true nor false.
    """

    layer: str | None = None
    batch_key: str | None = None
    labels_key: str | None = None
    categorical_covariate_keys: tuple[str, ...] = ()
    continuous_covariate_keys: tuple[str, ...] = ()
    size_factor_key: str | None = None
    round_counts: bool = False

    def __post_init__(self) -> None:
        check_fields(self, flag, "round_counts")
        for field in fields(self)[:-1]:
            value = getattr(self, field.name)
            normalise = _names if field.name in _TUPLES else _name
            object.__setattr__(self, field.name, normalise(field.name, value))
        single = [(role, getattr(self, role)) for role in ("batch_key", "labels_key", "size_factor_key")]
        many = [(role, key) for role in _TUPLES for key in getattr(self, role)]
        roles: dict[str, str] = {}
        for role, key in single + many:
            if key is not None and key in roles:
                raise SettingError(
                    f"obs column {key!r} is named twice, as {roles[key]} and as {role}. Each column can play "
                    f"one role: drop it from one of them, or copy it under another name."
                )
            roles[key] = role

    @property
    def categorical_keys(self) -> tuple[str, ...]:
        """Categorical columns that enter the network, batch first: the order of ``Batch.categories_BD``."""
        batch = () if self.batch_key is None else (self.batch_key,)
        return batch + self.categorical_covariate_keys

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping of plain Python values that JSON can hold; ``SetupKeys(**values)`` is the inverse."""
        return asdict(self)


def _name(role: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise SettingError(f"{role} must be one name (a string) or None, got {value!r}.")
    return str(value)  # numpy.str_ would not survive JSON


def _names(role: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (str(value),)
    items = list(value) if isinstance(value, Iterable) else [value]
    if not all(isinstance(item, str) for item in items):
        raise SettingError(f"{role} must be a name or a list of names (strings), got {value!r}.")
    return tuple(str(item) for item in items)
