"""What several tests share: hypothesis without a clock, and the real data where it lies beside the checkout."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("ours", deadline=None)
settings.load_profile("ours")

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real images and odd TIFFs; without it the test is skipped."""
    if not DATA.is_dir():
        pytest.skip("real data is not beside this checkout")
    return DATA
