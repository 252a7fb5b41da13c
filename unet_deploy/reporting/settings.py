"""How images were segmented, in words: what was asked for, and what follows from it and from the card."""

from __future__ import annotations

from unet_deploy.measure.words import Rows
from unet_deploy.model.card import ModelCard
from unet_deploy.objects.rules import Rules
from unet_deploy.segmentation.options import Options


def settings_rows(options: Options, card: ModelCard) -> Rows:
    """What holds for all images of a command. card: of the model's file."""
    decision = card.decision
    rows = [
        ("threshold", f"{decision.threshold if options.threshold is None else options.threshold:g}"),
        ("objects", _words(options.objects.decided_by(decision))),
    ]
    rows += [("channel", str(options.channel))] if options.channel is not None else []
    rows += [("answer", "the mean over eight orientations")] if options.tta else []
    rows += [("uniform tiles", "not computed: background")] if options.skip_background else []
    return rows


def _words(rules: Rules) -> str:
    """What counts as an object."""
    words = [f"connected by {rules.connectivity} neighbours"]
    words += [f"of {rules.min_size} pixels and more"] if rules.min_size else []
    words += [f"of {rules.min_share:g} squared diameters and more"] if rules.min_share else []
    words += ["holes filled"] if rules.fill_holes else []
    words += [f"parted at necks {rules.split:g} diameters deep"] if rules.split else []
    words += [f"each part of {rules.min_part:g} squared diameters and more"] if rules.split and rules.min_part else []
    words += [f"with a probability of foreground of {rules.peak:g} and more somewhere"] if rules.peak else []
    return ", ".join(words)
