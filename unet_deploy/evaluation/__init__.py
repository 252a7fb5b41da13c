"""How good masks are: pairs of images and truths, measures, and pictures of what is worst."""
