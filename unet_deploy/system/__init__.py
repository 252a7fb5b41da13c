"""What the computer is: processors, memory, files, packages, GPUs. The only room that knows the operating system."""
