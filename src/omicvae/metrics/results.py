"""What the results of metrics share."""

from typing import ClassVar

import pandas as pd


class OneRow:
    """A result whose numbers fill one row."""

    __slots__ = ()

    #: fields and properties that are shown, in order
    COLUMNS: ClassVar[tuple[str, ...]]

    def to_frame(self) -> pd.DataFrame:
        """Return one row: the scores, and what they rest on."""
        return pd.DataFrame([{name: getattr(self, name) for name in self.COLUMNS}])
