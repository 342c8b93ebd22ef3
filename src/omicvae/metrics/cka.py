"""Centred kernel alignment: whether two representations of the same cells are one up to rotation and scale."""

import numpy as np

from omicvae.metrics.labels import Array, as_features


def linear_cka(first_ND: Array, second_NE: Array) -> float:
    """Linear centred kernel alignment of two representations of the same cells (Kornblith et al. 2019).

    CKA = ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) with centred columns and Frobenius norms. Rotations, shifts and scale of either
    side change nothing, and dimensions count by their variance; NaN where one side is constant.

    Range: 0 (no linear relation) to 1 (the same up to rotation, shift and scale). Chance gives about √(D E) / N, more
    where cells are few.
    """
    first_ND, second_NE = (as_features(values, len(first_ND)) for values in (first_ND, second_NE))
    # by the largest entry, which leaves the ratio and keeps squares of squares within the numbers
    x_ND, y_NE = (values / (np.abs(values).max() or 1.0) for values in (first_ND, second_NE))
    x_ND, y_NE = x_ND - x_ND.mean(0), y_NE - y_NE.mean(0)
    own = np.linalg.norm(x_ND.T @ x_ND) * np.linalg.norm(y_NE.T @ y_NE)
    return min(1.0, float(np.linalg.norm(y_NE.T @ x_ND) ** 2 / own)) if own > 0 else float("nan")
