"""One HTML file that says what was done, how it went and what came out, for a person who was not there.

markup.py     elements of a page as values: what is not made there is text, and is escaped
page.py       a whole page, and how it becomes a file
page.css      how all pages look
pictures.py   pictures inside a page, of bounded size
charts.py     histograms, curves and shares, drawn as SVG
parts.py      what several pages have: tables of names and values, key figures, the machine
watched.py    a `Compute` that looks on while another fills a mask
survey.py     what is seen of the tiles: a picture, the pixels of each class, where the model is least certain
found.py      what came out: classes, and the objects as their table has them
crops.py      which places are shown at full resolution, by a rule for each
settings.py   how images were segmented, in words
account.py    what is known of one segmented image
segmented.py  the page of one image
several.py    the page of many images, a row each, outliers first
before.py     what an earlier page says, for a run that goes on
outliers.py   which images are unlike the others
segment_file.py  the file of a command that segments
evaluated.py  the page of an evaluation
verified.py   the page of a comparison
"""
