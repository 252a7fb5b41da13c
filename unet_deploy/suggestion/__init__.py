"""Which regions of images to annotate next: those that stand for most of what is there."""
