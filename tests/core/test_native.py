"""Compiled kernels: the process that compiles them and those that load them compute the same."""

import os
import subprocess
import sys

PROGRAM = """
import hashlib, numpy as np, torch
from omicvae._core import Batch, HeadOutput, SparseRows
from omicvae.likelihoods import LIKELIHOODS
rng = np.random.default_rng(0)
x_BG = torch.from_numpy(rng.poisson(rng.gamma(0.3, 3, (40, 70))).astype(np.float32))
cells = (x_BG.sum(1, keepdim=True), torch.zeros(40, 0, dtype=torch.int64), torch.zeros(40, 0))
heads = {"scale": HeadOutput.copy_of(torch.from_numpy(rng.normal(size=(40, 70)).astype(np.float32)))}
batch = Batch(SparseRows.from_dense(x_BG), *cells)
value_B, slopes = LIKELIHOODS["nb"](70).evaluate(batch, heads, np.full(40, -1 / 40, np.float32))
found = [value_B, heads["scale"].raw_BG.numpy(), *slopes]
print(hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in found)).hexdigest())
"""


def test_the_process_that_compiles_computes_what_later_ones_do(tmp_path):
    settings = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = [sys.executable, "-c", PROGRAM]
    found = [subprocess.run(run, env=settings, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert any(tmp_path.rglob("*.nbc"))  # the second process has loaded what the first one left
    assert found[0] == found[1] != ""
