"""Did every engine learn the same? Only then does a time mean anything.

All engines start from the same weights and take the same images in the same order. What they learn still differs in the
last digits, because float32 rounds and every engine adds up in an order of its own.
"""

import numpy as np

from network import initial_parameters

TOLERANCE = 1e-3  # allowed difference; after five epochs of 1,000 images 4e-5 was seen
ROUNDING = 1e-6  # float32 keeps a number to 6e-8 of its size, and every step rounds again


def check(trained, settings):
    """Compare each of {name: Trained} with plain Python's.

    Returns ({name: `agreement`} of the others, one line for each that is outside the tolerance).
    """
    start = initial_parameters(settings.filters, settings.seed)
    plain = trained["plain Python"]
    agreed = {name: agreement(one, plain, start) for name, one in trained.items() if one is not plain}
    return agreed, [line for line in (disagreement(name, one) for name, one in agreed.items()) if line]


def agreement(found, wanted, start):
    """How well two Trained agree: {"loss": largest relative difference of an epoch, "weights": `difference`}."""
    losses = [abs(one.loss - other.loss) / other.loss for one, other in zip(found.history, wanted.history, strict=True)]
    return {"loss": float(np.max(losses)), "weights": difference(found.parameters, wanted.parameters, start)}


def difference(found, wanted, start):
    """How far two Parameters are apart, as a share of how far training has moved them: the largest of the four arrays.

    A distance is the Euclidean norm of the difference. What float32's rounding explains, ROUNDING times the norm of the
    array, is not counted: after a step or two it can be as large as what training has changed.
    """
    shares = []
    for one, other, origin in zip(found, wanted, start, strict=True):
        apart = float(np.linalg.norm(one - other)) - ROUNDING * float(np.linalg.norm(other))
        moved = float(np.linalg.norm(other - origin))
        if apart <= 0:
            shares.append(0.0)
        else:
            shares.append(apart / moved if moved > 0 and np.isfinite(apart) else float("inf"))
    return max(shares)


def disagreement(name, agreed):
    """One line when an agreement is outside the tolerance, otherwise None."""
    if agreed["loss"] <= TOLERANCE and agreed["weights"] <= TOLERANCE:
        return None
    return (
        f"{name} did not learn what plain Python learned: the loss differs by {agreed['loss']:.2g} and the weights by "
        f"{agreed['weights']:.2g} of the way they went; the tolerance is {TOLERANCE:g}. No times are shown"
    )
