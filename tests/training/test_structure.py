"""What the covariates explain: the design that is taken out before structure is looked for."""

from types import SimpleNamespace

import numpy as np
import pytest

from omicvae.training import covariate_design


def test_continuous_covariates_stand_in_their_first_three_powers():
    dose_N1 = np.array([[-1.0], [0.5], [2.0], [3.0]])
    cells = SimpleNamespace(codes_ND=np.empty((4, 0), dtype=np.int64), standardised_NV=dose_N1)
    np.testing.assert_array_equal(covariate_design(cells), np.hstack([dose_N1, dose_N1**2, dose_N1**3]))
    np.testing.assert_array_equal(covariate_design(cells, np.array([3])), [[3.0, 9.0, 27.0]])


@pytest.mark.parametrize(("n_cells", "columns"), [(40, 4), (39, 4), (36, 4)])
def test_joint_levels_stand_where_they_have_ten_cells_each(n_cells, columns):
    codes_ND = np.array([[n % 2, n // 2 % 2] for n in range(n_cells)])
    cells = SimpleNamespace(codes_ND=codes_ND, standardised_NV=np.empty((n_cells, 0)))
    design_NC = covariate_design(cells)
    assert design_NC.shape == (n_cells, columns)
    joint = (design_NC.sum(axis=1) == 1).all()  # side by side each covariate has a level of its own
    assert joint == (n_cells >= 40)
