"""Files to files: the inputs, the outputs, one run, and the many machines that may compute it."""
