"""Whatever is done to a file, the command that reads it ends in time, with one line and a documented code, or is right.

`make fuzz MINUTES=30` tries many more; docs/security.md says what must hold.
"""

import random

import pytest
from fuzz.campaign import Campaign
from fuzz.mutate import mutated

pytest.importorskip("torch")
pytest.importorskip("zarr")

MUTANTS = 140


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    found = Campaign(tmp_path_factory.mktemp("fuzz"), seed=16)
    yield found
    found.close()


def test_mutants_of_every_kind_are_read_or_refused(campaign):
    faults = campaign.run(iter(range(MUTANTS)), print)
    assert not faults
    assert all(counts.mutants for counts in campaign.counts.values())


def test_a_number_makes_the_same_mutant_again(nuclei):
    again = [mutated(random.Random(number), nuclei, [nuclei]) for number in (1, 2, 1)]
    assert again[0] == again[2] != again[1]
