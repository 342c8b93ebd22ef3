import numpy as np
import pytest

import omicvae as ov


def test_expression_is_written_where_asked(tmp_path, counts):
    ov.CVAE.setup_anndata(counts, batch_key="batch")
    model = ov.CVAE(counts, "nb", seed=0, n_hidden=8)
    model.train(1, progress_bar=False)
    expected = model.get_normalized_expression(return_numpy=True)
    on_disk = np.memmap(tmp_path / "expression", dtype=np.float32, mode="w+", shape=expected.shape)
    returned = model.get_normalized_expression(out=on_disk, batch_size=7)
    assert returned is on_disk
    np.testing.assert_allclose(on_disk, expected, rtol=1e-4, atol=1e-7)
    with pytest.raises(ov.errors.SettingError, match=r"out has shape \(3, 3\).*\(120, 30\)"):
        model.get_normalized_expression(out=np.empty((3, 3)))
    with pytest.raises(ov.errors.SettingError, match="mean over draws"):
        model.get_normalized_expression(out=on_disk, n_samples=2, return_mean=False)
