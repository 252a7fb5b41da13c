"""Where a training computes, and the network that can be trained there."""

from __future__ import annotations

import torch

from unet_deploy.system.machine import usable_cores

CPU_WIDTH = 16
"""Channels of the first level by default where there is no GPU: 6000 steps take two cores under an hour."""


def find_device() -> torch.device:
    """The GPU, or all processors that this process may use."""
    torch.set_num_threads(usable_cores())
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def usual_width(preset: str) -> int | None:
    """The width that this machine can train; None for the preset's own. The paper's network is the paper's."""
    return CPU_WIDTH if preset != "paper" and not torch.cuda.is_available() else None
