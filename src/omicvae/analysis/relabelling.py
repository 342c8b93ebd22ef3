"""Other assignments of replicates to the two groups, for a run in which nothing can be there to find."""

from itertools import combinations, product
from math import comb

import numpy as np

from omicvae.metrics.labels import FloatArray

#: assignments that are listed rather than drawn
_LISTED = 20_000


def relabelled(column_U: FloatArray, limit: int, rng: np.random.Generator) -> list[FloatArray]:
    """Return up to ``limit`` distinct assignments other than the given one, and other than it with the groups swapped.

    Parameters
    ----------
    column_U
        0/1 for units of either group, which are exchanged; or 1 for each pair, whose signs are flipped.
    """
    n, n_first = len(column_U), int(column_U.sum())
    paired = n_first == n
    seen = {_key(column_U, paired)}
    found: list[FloatArray] = []
    n_all = 2.0**n if paired else comb(n, n_first)
    if n_all <= max(_LISTED, 4 * limit):
        every = (
            (np.array(signs, float) for signs in product((1, -1), repeat=n))
            if paired
            else (_members(n, chosen) for chosen in combinations(range(n), n_first))
        )
        for column in every:
            if (key := _key(column, paired)) not in seen:
                seen.add(key)
                found.append(column)
        chosen = rng.permutation(len(found))[:limit]
        return [found[i] for i in sorted(chosen)]
    while len(found) < limit:  # so many are there that few are drawn twice
        column = rng.choice([1.0, -1.0], n) if paired else rng.permutation(column_U)
        if (key := _key(column, paired)) not in seen:
            seen.add(key)
            found.append(column)
    return found


def _members(n: int, chosen: tuple[int, ...]) -> FloatArray:
    column = np.zeros(n)
    column[list(chosen)] = 1
    return column


def _key(column_U: FloatArray, paired: bool) -> bytes:
    """Name an assignment and its mirror image, whose effects are those with the other sign, alike."""
    mirror_U = -column_U if paired else 1 - column_U
    return min(column_U.tobytes(), (mirror_U + 0.0).tobytes())
