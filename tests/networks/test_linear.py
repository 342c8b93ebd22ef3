from dataclasses import replace

import pytest
import torch

from omicvae._core import SparseRows
from omicvae.networks.linear import MOSTLY_ZERO, Linear, dense_bfloat16


def sparse_input(n_cells=70, n_in=600, density=0.1):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n_cells, n_in, generator=generator)
    return torch.where(torch.rand(n_cells, n_in, generator=generator) < density, x, 0.0)


# of widths up to 215 with all that the loops take at a time: 8, 4 and 1 vectors of 16, and single values
@pytest.mark.parametrize("width", [37, 64, 128, 215])
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("density", "sparse"), [(0.0, True), (0.1, True), (0.9, False)])
def test_the_product_is_the_same_sparse_and_dense(density, sparse, shifted, width):
    x, layer = sparse_input(density=density), Linear(600, width)
    rows = SparseRows.from_dense(x)
    if shifted:
        rows = replace(rows, shift_G=torch.linspace(-1, 1, 600))
        x = x - rows.shift_G
    assert (rows.density <= MOSTLY_ZERO) == sparse
    slope = torch.rand(70, width)
    results = []
    for given in (x, rows):
        out = layer(given)
        results.append((out, *torch.autograd.grad((out * slope).sum(), list(layer.parameters()))))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 5, 7), (130, 300, 64)])  # in the calling thread; shared with another
def test_the_dense_product_and_its_gradients_are_torchs(shape):
    n_cells, n_in, n_out = shape
    x, layer = torch.rand(n_cells, n_in, requires_grad=True), Linear(n_in, n_out)
    inputs = (x, layer.weight_IO, layer.bias_O)
    slope = torch.rand(n_cells, n_out)
    found, expected = layer(x), torch.addmm(layer.bias_O, x, layer.weight_IO)
    torch.testing.assert_close(found, expected)
    for a, b in zip(*(torch.autograd.grad((out * slope).sum(), inputs) for out in (found, expected)), strict=True):
        torch.testing.assert_close(a, b)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected)


def test_it_starts_as_torch_does():
    torch.manual_seed(3)
    ours = Linear(5, 4)
    torch.manual_seed(3)
    theirs = torch.nn.Linear(5, 4)
    assert torch.equal(ours.weight_IO, theirs.weight.T)
    assert torch.equal(ours.bias_O, theirs.bias)


def test_sparse_rows_and_dense_matrix_are_each_other():
    x = sparse_input(9, 11, 0.3)
    x[4] = 0
    rows = SparseRows.from_dense(x)
    assert torch.equal(rows.to_dense(), x)
    assert torch.equal(rows.positions(), x.reshape(-1).nonzero().squeeze(1))
    assert rows.density == pytest.approx(float((x != 0).float().mean()))
    assert len(SparseRows.from_dense(x[:0])) == 0


@pytest.mark.parametrize("shifted", [False, True])
def test_the_dense_form_in_bfloat16_is_rounded_as_torch_rounds(shifted):
    x = sparse_input()
    x[3, :4] = torch.tensor([torch.nan, torch.inf, 1.00390625, 3e38])  # halfway between two, and beyond the largest
    rows = SparseRows.from_dense(x)
    if shifted:
        rows = replace(rows, shift_G=torch.linspace(-1, 1, 600))
    torch.testing.assert_close(dense_bfloat16(rows), rows.to_dense().bfloat16(), rtol=0, atol=0, equal_nan=True)


def test_rows_are_cut_without_a_copy():
    x = sparse_input(9, 11, 0.3)
    rows = SparseRows.from_dense(x)
    parts = rows.cut([4, 3, 2])
    for part, expected in zip(parts, x.split([4, 3, 2]), strict=True):
        assert torch.equal(part.to_dense(), expected)
        assert part.values_M.untyped_storage().data_ptr() == rows.values_M.untyped_storage().data_ptr()
