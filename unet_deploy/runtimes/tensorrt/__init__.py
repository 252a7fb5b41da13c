"""Everything that knows TensorRT and TensorRT for RTX."""
