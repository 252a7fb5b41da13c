"""What the tests of this room share: a folder of annotated images, and trainings that take no longer than they must."""

from importlib.util import find_spec

import pytest
from cells import folder

from unet_deploy.system.machine import usable_cores

__all__ = ["all_cores", "folder", "one_thread", "unmeasured"]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Threads make trainings this small slower, by much where tests run beside each other."""
    if find_spec("torch"):
        monkeypatch.setattr("trainer.device.usable_cores", lambda: 1)


@pytest.fixture
def all_cores(one_thread, monkeypatch):
    """What is the same to the last bit is so on as many threads as a training takes by itself."""
    monkeypatch.setattr("trainer.device.usable_cores", usable_cores)


@pytest.fixture
def unmeasured(monkeypatch):
    """What is exported says of memory what is usual: to measure it takes two processes for each model."""
    monkeypatch.setattr("trainer.export.measure_bytes_per_pixel", lambda model: 100.0)
