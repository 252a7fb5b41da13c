"""The colours of classes, the same in every picture, table and label image."""

from __future__ import annotations

import numpy as np

# Okabe and Ito's palette, which colour-blind people can tell apart; the background stays uncoloured.
COLOURS = np.array(
    [(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167), (0, 114, 178)],
    np.float32,
)
