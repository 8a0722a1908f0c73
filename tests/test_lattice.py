"""The best choice of candidates, held against all choices that there are."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from photos import lattice
from photos.lattice import best_cover, bits


def partitions(atoms):
    """All ways to part a list into sets: lists of whole numbers."""
    if not atoms:
        yield []
        return
    first, others = atoms[0], atoms[1:]
    for count in range(len(others) + 1):
        for beside in itertools.combinations(others, count):
            rest = [atom for atom in others if atom not in beside]
            for more in partitions(rest):
                yield [sum(1 << atom for atom in (first, *beside)), *more]


def best_sum(sets, scores):
    """The greatest sum of scores, by trying every partition."""
    best = {}
    for atoms, score in zip(sets, scores, strict=True):
        best[atoms] = max(score, best.get(atoms, -math.inf))
    everything = sorted({atom for atoms in sets for atom in bits(atoms)})
    return max(sum(best.get(atoms, -math.inf) for atoms in partition) for partition in partitions(everything))


def is_cover(chosen, sets):
    """Whether the chosen candidates hold each atom exactly once."""
    return sorted(atom for i in chosen for atom in bits(sets[i])) == sorted(
        {atom for one in sets for atom in bits(one)}
    )


@st.composite
def candidates(draw, most=6):
    """(sets, scores), shuffled: each atom by itself, and any other sets, also the same one more than once."""
    count = draw(st.integers(1, most))
    sets = [1 << atom for atom in range(count)] + draw(st.lists(st.integers(1, 2**count - 1), max_size=20))
    scores = draw(st.lists(st.floats(-10, 10), min_size=len(sets), max_size=len(sets)))
    order = draw(st.permutations(range(len(sets))))
    return [sets[i] for i in order], [scores[i] for i in order]


@settings(max_examples=150, deadline=None)
@given(candidates())
@example(([0b011, 0b001, 0b010], [-0.1, -2.0, -3.0]))
@example(([0b1, 0b1, 0b10, 0b11], [-1.0, -0.5, -0.5, -1.0]))
def test_the_best_cover_is_the_best_of_all_partitions(made):
    sets, scores = made
    chosen = best_cover(sets, scores)
    assert is_cover(chosen, sets) and chosen == sorted(chosen)
    assert sum(scores[i] for i in chosen) == pytest.approx(best_sum(sets, scores), abs=1e-9)


def test_the_example_of_the_docstring():
    assert best_cover([0b011, 0b001, 0b010], [-0.1, -2.0, -3.0]) == [0]
    assert best_cover([0b011, 0b001, 0b010], [-6.0, -2.0, -3.0]) == [1, 2]


@settings(max_examples=60, deadline=None)
@given(candidates(most=5), candidates(most=5))
def test_what_shares_no_atom_is_decided_alone(one, other):
    shift = max(one[0]).bit_length()
    sets, scores = one[0] + [atoms << shift for atoms in other[0]], one[1] + other[1]
    chosen = best_cover(sets, scores)
    assert is_cover(chosen, sets)
    alone = best_sum(*one) + best_sum(*other)
    assert sum(scores[i] for i in chosen) == pytest.approx(alone, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_long_chain(seed):
    """Each atom alone or with its right neighbour: the best sum of n atoms follows from those of fewer."""
    count = 80
    alone, joined = np.random.default_rng(seed).normal(-2, 1, (2, count))
    sets = [1 << i for i in range(count)] + [0b11 << i for i in range(count - 1)]
    scores = [*alone, *(2 * joined[:-1])]
    best = [0.0, alone[0]]
    for i in range(1, count):
        best.append(max(best[-1] + alone[i], best[-2] + 2 * joined[i - 1]))
    chosen = best_cover(sets, scores)
    assert is_cover(chosen, sets)
    assert sum(scores[i] for i in chosen) == pytest.approx(best[-1])


def test_many_independent_pairs():
    pairs = range(0, 400, 2)
    sets = [1 << i for i in range(400)] + [0b11 << i for i in pairs]
    scores = [-1.0] * 400 + [-1.5 if i % 4 else -2.5 for i in pairs]
    joined = {i for i in best_cover(sets, scores) if i >= 400}
    assert joined == {400 + i // 2 for i in pairs if i % 4}


@settings(max_examples=60, deadline=None)
@given(candidates())
def test_a_narrow_beam_still_finds_a_cover(made):
    sets, scores = made
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lattice, "BEAM", 1)
        chosen = best_cover(sets, scores)
    assert is_cover(chosen, sets)
    assert sum(scores[i] for i in chosen) <= best_sum(sets, scores) + 1e-9


def test_the_beam_keeps_the_best(monkeypatch):
    monkeypatch.setattr(lattice, "BEAM", 1)
    assert best_cover([0b001, 0b010, 0b100, 0b011], [-5.0, -5.0, -1.0, -1.0]) == [2, 3]
    assert best_cover([0b001, 0b010, 0b100, 0b011], [-1.0, -1.0, -1.0, -5.0]) == [0, 1, 2]


def test_nothing_to_choose():
    assert best_cover([], []) == []


@given(st.sets(st.integers(0, 300)))
def test_bits_are_the_places_that_are_set_the_lowest_first(places):
    assert list(bits(sum(1 << place for place in places))) == sorted(places)
