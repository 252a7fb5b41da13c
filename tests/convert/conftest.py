"""What the tests of this room share: adopted models that measure no memory."""

import pytest


@pytest.fixture
def unmeasured(monkeypatch):
    """What is adopted says of memory what is usual: to measure it takes two processes for each model."""
    monkeypatch.setattr("unet_deploy.convert.adopt.measure_bytes_per_pixel", lambda model: 100.0)
