"""What a person looks at: any image and any mask, tile by tile, at any zoom.

zoom.py       which pixels a tile of the screen shows: integers, no pixels
levels.py     the levels of a pyramid as they are shown, and which of them serves a zoom
pixels.py     pixels as they are shown, and which hold data
shrink.py     many stored pixels as one of the screen
cut.py        the pixels of a tile, from a level or from an overview
overview.py   a whole page, small, made in the background where a file has no pyramid
kept.py       overviews that were made before
planes.py     probabilities whose classes lie in pages
layer.py      one opened file, and its tiles
contrast.py   between which grey values a channel is shown
paint.py      pixels as pictures: channels in their colours, labels as fills or outlines
look.py       how a tile is drawn, as its address says it
difference.py what two masks differ in, and how often
table.py      the table of objects, sorted and searched
named.py      which of the named files is the image, a mask, the table
shown.py      what lies in a scene, and how each draws its tiles
scene.py      files one over another, and the pictures of their tiles
described.py  what a page must know of a scene
guard.py      who is let in
lanes.py      how much work is in flight
app.py        what a browser may ask
serve.py      a server of one scene, until Ctrl-C
"""
