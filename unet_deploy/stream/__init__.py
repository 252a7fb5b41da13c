"""Tiles through a runtime: the plan, the three stages, and the proof that comes before the first answer."""
