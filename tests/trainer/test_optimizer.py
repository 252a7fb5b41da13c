from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from trainer.optimizer import Muon, orthogonalised  # noqa: E402
from trainer.unet import UNet  # noqa: E402


@given(st.integers(4, 40), st.integers(4, 40), st.floats(1e-6, 1e6), st.integers(0, 2**32 - 1))
def test_singular_values_are_evened_out_and_the_singular_vectors_kept(rows, columns, size, seed):
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.normal(size=(rows, rows)))[0]
    right = np.linalg.qr(rng.normal(size=(columns, columns)))[0]
    count = min(rows, columns)
    values = size * rng.uniform(0.05, 1, count)
    matrix = torch.from_numpy((left[:, :count] * values @ right[:count]).astype(np.float32))

    turned = orthogonalised(matrix).double().numpy()

    assert turned.shape == (rows, columns)
    evened = np.linalg.svd(turned)[1]
    assert evened.min() > 0.6
    assert evened.max() < 1.3
    inner = left[:, :count].T @ turned @ right[:count].T
    assert np.abs(inner - np.diag(np.diag(inner))).max() < 0.1


def test_kernels_turn_and_keep_their_norm_and_the_rest_takes_adamw_s_step():
    torch.manual_seed(0)
    model = UNet(channels=1, classes=2, width=8, depth=1, dropout=0.0)
    theirs = copy.deepcopy(model)
    before = copy.deepcopy(model)
    ours = Muon(model.parameters(), 1e-3, weight_decay=0.0)
    adamw = torch.optim.AdamW(theirs.parameters(), 1e-3, weight_decay=0.0)
    for net, optimizer in ((model, ours), (theirs, adamw)):
        net(torch.linspace(0, 1, 44 * 44).reshape(1, 1, 44, 44)).square().mean().backward()
        optimizer.step()

    kernels = 0
    for (name, now), was, adam in zip(model.named_parameters(), before.parameters(), theirs.parameters(), strict=True):
        if now.ndim == 4 and min(now.shape[:2]) >= 4:
            kernels += 1
            assert torch.isclose(now.norm(), was.norm(), rtol=1e-5), name
            longest = torch.linalg.matrix_norm((now - was).flatten(1), 2)
            assert 0.5e-2 < longest < 1.5e-2, name
        else:
            assert torch.equal(now, adam), name
    assert kernels == 6


def test_a_network_without_gradients_stays_as_it_is():
    model = UNet(channels=1, classes=2, width=4, depth=1)
    before = copy.deepcopy(model.state_dict())
    Muon(model.parameters(), 1e-3, weight_decay=0.1).step()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
