"""Muon: steps along orthogonalised momentum for the convolutions, AdamW for all else.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; that kernels keep their norm is of the
same author's fast training on CIFAR-10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unet_deploy.system.machine import bf16_pays

MOMENTUM = 0.95
REACH = 10.0
_LEAST_SIDE = 4
"""Matrices narrower than this, of the first convolution and the head, have hardly a spectrum to even out."""


class Muon(torch.optim.AdamW):
    """One optimizer for a network of convolutions; state and learning rate as of any other.

    A kernel (out, in, k, k) counts as a matrix (out, in * k * k). Its step is of spectral norm REACH * learning_rate,
    however small the gradient, and its own norm stays as it was: nothing else bounds the activations of a network
    without normalisation layers, and they would outgrow half precision. What is no such kernel takes AdamW's step.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and turns(p):
                    self._turn(p, REACH * group["lr"])
                    p.grad = None  # AdamW leaves alone what has no gradient
        return super().step(closure)

    def _turn(self, p: Tensor, length: float) -> None:
        state = self.state[p]
        if not state:  # AdamW asks for a step when it loads
            state.update(momentum=torch.zeros_like(p), norm=p.norm(), step=torch.zeros(()))
        assert p.grad is not None
        state["momentum"].lerp_(p.grad, 1 - MOMENTUM)
        ahead = p.grad.lerp(state["momentum"], MOMENTUM).flatten(1)  # Nesterov
        p.add_(orthogonalised(ahead).view_as(p), alpha=-length)
        p.mul_(state["norm"] / p.norm())


def turns(p: Tensor) -> bool:
    """Whether a parameter is a kernel whose steps are made orthogonal."""
    return p.ndim == 4 and min(p.shape[:2]) >= _LEAST_SIDE


def orthogonalised(matrix: Tensor) -> Tensor:
    """A (rows, columns) matrix with its singular values brought to between 0.7 and 1.2, by five Newton-Schulz steps.

    The coefficients are those of Jordan et al. 2024: steepest at 0, at the price of not converging to 1.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide.bfloat16() if matrix.is_cuda or bf16_pays() else wide
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    x = x.to(matrix.dtype)
    return x if wide is matrix else x.T
