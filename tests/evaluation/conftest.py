"""What the tests of this room share: a folder of annotated images."""

from cells import folder

__all__ = ["folder"]
