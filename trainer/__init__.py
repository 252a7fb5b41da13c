"""The trainer: the original U-Net, its recipe, and the way to ONNX. Needs the `train` extra."""
