"""Models from and to other tools."""
