import numpy as np
import pytest


@pytest.fixture
def cells():
    """300 cells of 3 labels in 2 batches; the second batch is shifted a little."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    batches = rng.integers(0, 2, 300)
    embedding = 4 * np.eye(4)[labels] + rng.normal(size=(300, 4))
    embedding[:, 3] += batches
    return embedding, np.array(["a", "b", "c"])[labels], batches
