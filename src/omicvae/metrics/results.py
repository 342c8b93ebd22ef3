"""What the results of metrics share."""

from dataclasses import fields
from typing import Any, ClassVar

import pandas as pd


class OneRow:
    """A result, a dataclass, whose numbers fill one row."""

    __slots__ = ()

    #: fields and properties that are shown, in order; all fields where empty
    COLUMNS: ClassVar[tuple[str, ...]] = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row: the scores, and what they rest on."""
        result: Any = self
        names = self.COLUMNS or [field.name for field in fields(result)]
        return pd.DataFrame([{name: getattr(self, name) for name in names}])
