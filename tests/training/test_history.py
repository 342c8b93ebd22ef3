import pandas as pd

import omicvae as ov
from omicvae.training import FitResult, history_frame


def test_epoch_numbers_stay_what_they_are_in_r():
    # reticulate adds 1 to the numbers of a RangeIndex
    table = history_frame([{"loss_train": 1.0}, {"loss_train": 2.0}], first_epoch=4)
    result = FitResult(table, 4, 2, 4, stopped_early=False, interrupted=False)
    again = FitResult.from_dict(result.to_dict()).history
    for frame in (table, again, pd.concat([table, again]), history_frame([])):
        assert not isinstance(frame.index, pd.RangeIndex)
        assert (frame.index.name, frame.index.dtype) == ("epoch", "int64")
    assert table.index.tolist() == again.index.tolist() == [4, 5]
    pd.testing.assert_frame_equal(table, again)


def test_the_history_of_a_model_too(counts):
    model = ov.CVAE(counts, "nb", 2, n_hidden=8)
    assert not isinstance(model.history.index, pd.RangeIndex)
    model.train(2, progress_bar=False)
    model.train(1, progress_bar=False)
    assert not isinstance(model.history.index, pd.RangeIndex)
    assert model.history.index.tolist() == [1, 2, 3]
