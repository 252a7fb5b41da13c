"""What a model is: its card, the names of its ports, its graph and how that is changed for a device."""
