"""The choice of candidates that explains all ink best: a Viterbi search through a lattice.

    chosen = best_cover([0b011, 0b001, 0b010], [-0.1, -2.0, -3.0])      [0]: two atoms are one thing together

An *atom* is the smallest piece of ink that is looked at, and a set of atoms is a whole number: bit i stands for atom i.
A candidate is a set of atoms, and how likely it is to be one digit (or no digit) is its score, a logarithm of a
probability. Whoever makes the candidates and scores knows about ink; this file does not.
"""

BEAM = 50  # states that are followed at a time; the others are so much worse that they hardly ever win in the end


def bits(number):
    """The places of the bits that are set in a whole number, the lowest first."""
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


def best_cover(sets, scores):
    """Indices of the candidates that together hold each atom exactly once, with the greatest sum of scores.

    sets: one whole number for each candidate, its atoms; every atom must also be a candidate by itself. scores: a
    number for each candidate.
    """
    chosen = []
    for group in _independent_groups(sets):
        chosen += _viterbi(group, sets, scores)
    return sorted(chosen)


def _independent_groups(sets):
    """Lists of indices of candidates: two candidates that share an atom are in the same list."""
    group_of = {}  # atom -> the list that it belongs to, shared by all atoms of the group
    for index, atoms in enumerate(sets):
        merged = {"atoms": set(bits(atoms)), "candidates": [index]}
        for group in {id(group_of[i]): group_of[i] for i in bits(atoms) if i in group_of}.values():
            merged["atoms"] |= group["atoms"]
            merged["candidates"] += group["candidates"]
        for atom in merged["atoms"]:
            group_of[atom] = merged
    return [group["candidates"] for group in {id(group): group for group in group_of.values()}.values()]


def _viterbi(group, sets, scores):
    """`best_cover` for the candidates of one group.

    The atoms are decided one after the other. A state is the set of atoms that are taken. Of all ways that lead to the
    same state, only the best can be a part of the best whole.
    """
    by_first, everything = {}, 0
    for index in group:
        by_first.setdefault(sets[index] & -sets[index], []).append(index)
        everything |= sets[index]
    states = {0: (0.0, None)}  # atoms taken -> (sum of scores, (last candidate, what was chosen before))
    for atom in bits(everything):
        following = {}
        for taken, (total, path) in states.items():
            if taken >> atom & 1:
                _keep_better(following, taken, (total, path))
                continue
            for index in by_first.get(1 << atom, ()):
                if not sets[index] & taken:
                    _keep_better(following, taken | sets[index], (total + scores[index], (index, path)))
        states = dict(sorted(following.items(), key=lambda state: -state[1][0])[:BEAM])
    path, chosen = states[everything][1], []
    while path:
        index, path = path
        chosen.append(index)
    return chosen


def _keep_better(states, state, way):
    if state not in states or states[state][0] < way[0]:
        states[state] = way
