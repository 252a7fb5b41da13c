"""The one room that knows CUDA: a GPU as a device of the ring, through either of two bindings."""
