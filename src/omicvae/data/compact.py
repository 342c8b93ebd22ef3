"""The values of non-zeros in few bytes, and exactly: most are small counts or, in a cell, few different numbers."""

from dataclasses import dataclass

import numpy as np

from omicvae._core.native import compiled, inlined, run

f4 = np.float32
#: stands for a count that is kept apart, where counts are kept in bytes
ESCAPE = 255
#: beyond this share of counts above a byte, two bytes a count take less room
_MOST_LARGE = 0.05
#: different values of a cell that a byte tells apart
_MOST_DISTINCT = 256
#: cells that are looked at before all are: values that are measured, not counted, hardly ever repeat
_TRIED_CELLS = 100


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
    large_positions: np.ndarray
    large_values: np.ndarray
    table_starts: np.ndarray
    tables: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, indptr: np.ndarray) -> "CompactValues":
        """Take the smallest form that holds ``values`` (uint8, uint16 or float32) of cells with these row pointers."""
        no_large, no_tables = (np.empty(0, np.int64), np.empty(0, np.uint16)), (np.empty(0, np.int64), np.empty(0, f4))
        if values.dtype == np.uint16:
            large = np.flatnonzero(values >= ESCAPE)
            if 0 < len(large) <= _MOST_LARGE * len(values):
                return cls(np.minimum(values, ESCAPE).astype(np.uint8), large, values[large], *no_tables)
        if values.dtype == np.float32 and len(values):
            rows = np.arange(len(indptr) - 1)
            tried = np.unique(np.linspace(0, len(rows) - 1, _TRIED_CELLS).astype(np.int64))
            if _worth_codes(_n_distinct(values, indptr, tried), np.diff(indptr)[tried]):
                distinct_N = _n_distinct(values, indptr, rows)
                if _worth_codes(distinct_N, np.diff(indptr)):
                    starts = np.concatenate([[0], distinct_N.cumsum()])
                    codes, tables = np.empty(len(values), np.uint8), np.empty(starts[-1], f4)
                    run(_encode, len(rows), values, indptr, starts, tables, codes)
                    return cls(codes, *no_large, starts[:-1], tables)
        return cls(values, *no_large, *no_tables)

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All arrays, as compiled kernels take them."""
        return self.stored, self.large_positions, self.large_values, self.table_starts, self.tables

    def widened(self, indptr: np.ndarray) -> np.ndarray:
        """All values in the smallest of uint8, uint16 and float32 that holds them without further arrays."""
        if len(self.large_values):
            wide = self.stored.astype(np.uint16)
            wide[self.large_positions] = self.large_values
            return wide
        if len(self.tables):
            wide = np.empty(len(self.stored), f4)
            run(_decode, len(self.table_starts), self.stored, indptr, self.table_starts, self.tables, wide)
            return wide
        return self.stored


def _worth_codes(distinct_N: np.ndarray, length_N: np.ndarray) -> bool:
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
def _decode(part, parts, codes, indptr, starts, tables, values):  # type: ignore[no-untyped-def]
    """Write the value of each code."""
    for n in range(len(starts) * part // parts, len(starts) * (part + 1) // parts):
        code, cell, table = codes[indptr[n] : indptr[n + 1]], values[indptr[n] : indptr[n + 1]], tables[starts[n] :]
        for j in range(len(cell)):
            cell[j] = table[code[j]]
