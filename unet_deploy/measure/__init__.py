"""What a model, an image and a machine are, and how fast and how faithful they are together."""
