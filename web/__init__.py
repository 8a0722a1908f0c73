"""The page to draw on: what `draw.py` serves.

    browser                          server
    static/*.js   <-- events ------  server.py       one address for each thing that the page asks for; its event stream
                  -- requests ---->  guard.py        who may ask, and how much may be sent
                                     messages.py    what both say to each other
                                     sessions.py     what belongs to one open page: a network, perhaps in training
                                     trainer.py      a process that trains it
                                     strokes.py      from what was drawn to ink
                                     explain.py      all numbers of the network on the way from a crop to its answer
                                     photo.py        from an uploaded photo to what was read in it
                                     corrections.py  keeps what was read wrong, with the right digit

Nothing here computes a layer or finds a digit: that is done by the network's own layers and by `photos/`.
"""
