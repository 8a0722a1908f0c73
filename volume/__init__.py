"""Volume: the pictures of whole folders, read by all cores of a machine or by several machines.

    listing    files, folders, globs and lists -> the pictures that they name, one after the other
    work       one picture, read and drawn in any process on any machine
    sharing    that work shared out over processes or a cluster; results in the order given
    results    what was read, as text, JSON lines or CSV; the file of results that a later run goes on with

Nothing here grows with the number of pictures but the names of one folder, and, where --resume or --output ask for it,
the names that were taken already. How one picture is read is in photos/.
"""
