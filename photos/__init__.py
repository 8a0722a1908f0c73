"""Photos: from a picture file to the digits that are read in it, and the training set for such a reader.

    opening        picture files -> RGB pictures
    segment        a picture -> its digits, each cut out as a crop; its docstring lists the stages, which are functions
                   of ink, rules, grouping (it groups glyphs: see glyph) and normalise
    reading        crops -> what digits they are, by a network
    drawing        what was read, drawn into the picture
    scoring        what was read, compared with labels

    training_set   the images to train on: those of MNIST, and digits written in other ways by variants and handwriting,
                   all of them normalised; processes shares the work out over the cores
    make_samples   makes the pictures in samples/; page is the paper that they are written on

A new stage between picture and crop belongs here, and so does another way to draw or to score, or more images to train
on. The network itself is not here: see network.py.
"""
