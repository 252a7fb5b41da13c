"""Which regions of images would teach a model most: what it is unsure of, each unlike the others."""
