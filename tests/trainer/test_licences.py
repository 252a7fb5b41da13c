"""What speaks against a licence is said; what does not is no noise."""

import pytest

from trainer.licences import objection
from unet_deploy.model.parent import Parent


def said(theirs, ours):
    return objection(Parent("cells", "0" * 64, theirs), ours)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("", "MIT"),
        ("CC0-1.0", "MIT"),
        ("CC0-1.0 AND CC-BY-4.0", "GPL-3.0-only"),
        ("CC BY 4.0", "proprietary"),
        ("public domain", "MIT"),
        ("BSD-3-Clause", "Apache-2.0"),
        ("CC-BY-NC-4.0", ""),
        ("CC-BY-NC-4.0", "CC BY-NC 4.0"),
        ("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0"),
        ("CC-BY-SA-4.0", "cc by-sa 4.0"),
        ("GPL-3.0-only OR MIT", "MIT"),
        ("ask Ada", "ask Ada"),
    ],
)
def test_licences_that_go_together_are_not_spoken_of(theirs, ours):
    assert said(theirs, ours) is None


@pytest.mark.parametrize(
    ("theirs", "ours", "why"),
    [
        ("CC-BY-ND-4.0", "", "allows nothing that is made from it"),
        ("CC-BY-NC-4.0", "MIT", "allows no commercial use, and --license says MIT"),
        ("CC0-1.0 AND CC-BY-NC-SA-4.0", "CC0-1.0", "allows no commercial use"),
        ("CC-BY-SA-4.0", "CC-BY-4.0", "asks for the same of what is made from it, and --license says CC-BY-4.0"),
        ("GPLv3", "MIT", "asks for the same"),
        ("AGPL-3.0-or-later", "MIT", "asks for the same"),
        ("CC-BY-NC-4.0 OR CC-BY-SA-4.0", "MIT", "allows no commercial use"),
        ("of our clinic", "MIT", "and --license says MIT: see that the two go together"),
    ],
)
def test_what_speaks_against_a_licence_is_one_line(theirs, ours, why):
    line = said(theirs, ours)
    assert line.startswith(f"note: model 'cells' is under {theirs}, ")
    assert why in line
    assert "\n" not in line
