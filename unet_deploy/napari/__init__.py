"""The plugin of napari: opens images and masks as layers, and segments layers. Only this room knows napari and Qt.

napari.yaml   what the plugin offers, as npe2 has it
lazy.py       a level of an image as an array that reads where it is indexed
levels.py     the levels of a file as such arrays, down to one that is small
placed.py     how far apart pixels, slices and times of a layer lie
layers.py     a file as layers: images, masks, probabilities
reader.py     what napari asks for files that are opened
sample.py     the sample slide
source.py     a layer as an image that is segmented
work.py       one segmentation, in a thread, which can be ended
answer.py     what came of it, as a layer
region.py     which pixels of an image shapes lie on
panel.py      the widget
"""
