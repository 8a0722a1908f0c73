"""Photos: from a picture file to the digits that are read in it, and the training set for such a reader.

A new stage between picture and crop, another way to draw or to score, or more to train on belongs here; the network
does not.
"""
