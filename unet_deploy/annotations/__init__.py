"""What people draw on images, read from the files of other programs, and how they say that it is to be read."""
