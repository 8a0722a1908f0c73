"""Photos: from a picture file to the digits that are read in it, and the training set for such a reader.

    opening        picture files -> RGB pictures
    segment        a picture -> the connected parts of its ink, by ink, rules, grouping and glyph; its docstring lists
                   all stages, also those of reading
    reading        these parts -> digits: cutting and grouping make candidates, normalise gives them the form of MNIST,
                   a network and weighing judge them, and lattice chooses
    drawing        what was read, drawn into the picture
    stages         all stages of a picture, drawn on one sheet
    scoring        what was read, compared with labels

    training_set   the images to train on: those of MNIST, digits written in other ways (variants, handwriting, damage),
                   and what is no digit (no_digit, marks), all of them normalised; processes shares the work out
    make_samples   makes the pictures in samples/; page is the paper that they are written on

A new stage between picture and digit belongs here, and so does another way to draw or to score, or more images to train
on. The network itself is not here: see network.py.
"""
