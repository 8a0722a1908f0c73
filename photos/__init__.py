"""Photos: from a picture file to the digits that are read in it, and the training set for such a reader.

    opening        picture files -> RGB pictures
    segment        a picture -> the crops of its digits; its docstring lists the stages, in
                   ink, rules, grouping (of glyphs, see glyph) and normalise
    reading        crops -> digits, by a network
    drawing        what was read, drawn into the picture
    scoring        what was read, compared with labels

    training_set   MNIST, normalised, and the digits of variants and handwriting; made by processes
    make_samples   the pictures in samples/, on pages of page

A new stage between picture and crop belongs here, and so does another way to draw or to score, or more to train on. The
network does not.
"""
