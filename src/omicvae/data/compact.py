"""The values of non-zeros in few bytes, and exactly: most are small counts or, in a cell, few different numbers."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from omicvae._core.native import compiled, inlined, run

f4 = np.float32
#: stands for a count that is kept apart, where counts are kept in bytes
_ESCAPE = 255
#: beyond this share of counts above a byte, two bytes a count take less room
_MOST_LARGE = 0.05
#: different values of a cell that a byte tells apart
_MOST_DISTINCT = 256
#: cells that are looked at before all are: values that are measured, not counted, hardly ever repeat
TRIED_CELLS = 100


@dataclass(frozen=True, slots=True, eq=False)
class CompactValues:
    """Values of the non-zeros of cells, one after the other; made by :meth:`of`.

    Attributes
    ----------
    stored
        The values: uint8 or uint16 where all fit exactly, else float32. Where few counts need more than a byte, uint8
        with 255 in the place of those. Where the cells' own values repeat, as log-normalised counts do, uint8 codes.
    large_positions, large_values
        Position of each count that a byte does not hold, ascending, int64; the count, uint16.
    table_starts, tables
        Where the values of a cell's codes begin (int64, a cell each, none without codes); these values, float32.
    """

    stored: np.ndarray
    large_positions: np.ndarray = field(default_factory=partial(np.empty, 0, np.int64))
    large_values: np.ndarray = field(default_factory=partial(np.empty, 0, np.uint16))
    table_starts: np.ndarray = field(default_factory=partial(np.empty, 0, np.int64))
    tables: np.ndarray = field(default_factory=partial(np.empty, 0, f4))

    @classmethod
    def of(cls, values: np.ndarray, indptr: np.ndarray) -> "CompactValues":
        """Take the smallest form that holds ``values`` (uint8, uint16 or float32) of cells with these row pointers."""
        if values.dtype == np.uint16:
            large = np.flatnonzero(values >= _ESCAPE)
            if 0 < len(large) <= _MOST_LARGE * len(values):
                return cls(np.minimum(values, _ESCAPE).astype(np.uint8), large, values[large])
        if values.dtype == np.float32 and len(values):
            rows = np.arange(len(indptr) - 1)
            tried = np.unique(np.linspace(0, len(rows) - 1, TRIED_CELLS).astype(np.int64))
            if worth_codes(_n_distinct(values, indptr, tried), np.diff(indptr)[tried]):
                distinct_N = _n_distinct(values, indptr, rows)
                if worth_codes(distinct_N, np.diff(indptr)):
                    starts = np.concatenate([[0], distinct_N.cumsum()])
                    codes, tables = np.empty(len(values), np.uint8), np.empty(starts[-1], f4)
                    run(_encode, len(rows), values, indptr, starts, tables, codes)
                    return cls(codes, table_starts=starts[:-1], tables=tables)
        return cls(values)

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All arrays, as compiled kernels take them."""
        return self.stored, self.large_positions, self.large_values, self.table_starts, self.tables

    def gather(
        self, indptr: np.ndarray, columns: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return these cells one after the other: where each starts and ends, columns (int32), values (float32)."""
        starts = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(indptr[rows + 1] - indptr[rows], out=starts[1:])
        out = np.empty(starts[-1], np.int32), np.empty(starts[-1], f4)
        run(_gather, len(rows), indptr, columns, self.arrays, rows, starts, *out)
        return starts, *out

    def widened(self, indptr: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """All values in the smallest of uint8, uint16 and float32 that holds them without further arrays."""
        if len(self.tables):
            return self.gather(indptr, columns, np.arange(len(indptr) - 1))[2]
        if len(self.large_values):
            wide = self.stored.astype(np.uint16)
            wide[self.large_positions] = self.large_values
            return wide
        return self.stored


def worth_codes(distinct_N: np.ndarray, length_N: np.ndarray) -> bool:
    """Whether a byte a value tells a cell's apart, and these with a table take less room than floats."""
    fits = int(distinct_N.max(initial=0)) <= _MOST_DISTINCT
    return fits and 4 * int(distinct_N.sum()) + int(length_N.sum()) < 4 * int(length_N.sum())


def _n_distinct(values: np.ndarray, indptr: np.ndarray, rows: np.ndarray) -> np.ndarray:
    count_N = np.empty(len(rows), np.int64)
    run(_count_distinct, len(rows), values, indptr, rows, count_N)
    return count_N


@inlined
def _place(table, count, value):  # type: ignore[no-untyped-def]
    """Return how many of the first values of an ascending table are below ``value``."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if table[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def _fill(table, cell):  # type: ignore[no-untyped-def]
    """Write a cell's different values in order; return their number, or one more than the table holds."""
    count = 0
    for value in cell:
        place = _place(table, count, value)
        if place < count and table[place] == value:
            continue
        if count == len(table):
            return count + 1
        for later in range(count, place, -1):
            table[later] = table[later - 1]
        table[place] = value
        count += 1
    return count


@compiled
def _count_distinct(part, parts, values, indptr, rows, count_N):  # type: ignore[no-untyped-def]
    """Count the different values of each cell, up to one more than a byte tells apart."""
    table = np.empty(_MOST_DISTINCT, f4)
    for b in range(len(rows) * part // parts, len(rows) * (part + 1) // parts):
        count_N[b] = _fill(table, values[indptr[rows[b]] : indptr[rows[b] + 1]])


@compiled
def _encode(part, parts, values, indptr, starts, tables, codes):  # type: ignore[no-untyped-def]
    """Write each cell's different values in order, and the place of every value among them."""
    for n in range((len(starts) - 1) * part // parts, (len(starts) - 1) * (part + 1) // parts):
        cell, table = values[indptr[n] : indptr[n + 1]], tables[starts[n] : starts[n + 1]]
        code = codes[indptr[n] : indptr[n + 1]]
        _fill(table, cell)
        for j in range(len(cell)):
            code[j] = _place(table, len(table), cell[j])


@compiled
def _gather(part, parts, indptr, columns, values, rows, starts, out_columns, out_values):  # type: ignore[no-untyped-def]
    """Copy the stored rows ``rows`` one after the other, widened."""
    stored, large_positions, large_values, table_starts, tables = values
    for b in range(len(rows) * part // parts, len(rows) * (part + 1) // parts):
        source, target = slice(indptr[rows[b]], indptr[rows[b] + 1]), slice(starts[b], starts[b + 1])
        from_columns, to_columns = columns[source], out_columns[target]
        from_values, to_values = stored[source], out_values[target]
        for j in range(len(to_columns)):
            to_columns[j], to_values[j] = from_columns[j], from_values[j]
        if len(large_values):
            for j in range(len(to_columns)):
                if from_values[j] == _ESCAPE:
                    to_values[j] = large_values[_place(large_positions, len(large_positions), indptr[rows[b]] + j)]
        if len(tables):
            table = tables[table_starts[rows[b]] :]
            for j in range(len(to_columns)):
                to_values[j] = table[int(from_values[j])]
