"""Pages and pictures made from seeds: the same each time, of all kinds, legible, and read by the photo reader."""

import numpy as np
import pytest
import random_pages
from random_pages import NO_DIGITS, digit_page, no_digit_picture, read_array, read_none, read_pages, thin

pytest_plugins = ["photo_fixtures"]

LIKE_DIGITS = {"shapes"}  # triangles, squares and rings


@pytest.fixture(scope="module")
def pages():
    return [digit_page(seed, longest=200) for seed in range(40)]


def test_a_seed_gives_the_same_page():
    first, again, other = digit_page(3, longest=300), digit_page(3, longest=300), digit_page(4, longest=300)
    assert np.array_equal(first.picture, again.picture) and first.lines == again.lines and first.kind == again.kind
    assert first.picture.shape != other.picture.shape or not np.array_equal(first.picture, other.picture)
    assert np.array_equal(no_digit_picture(5, longest=300)[0], no_digit_picture(5, longest=300)[0])


def test_pages_are_pictures_with_lines_of_digits(pages):
    for page in pages:
        assert page.picture.dtype == np.uint8 and page.picture.shape[2] == 3
        assert max(page.picture.shape) <= 200
        assert 1 <= len(page.lines) <= 4 and all(1 <= len(line) <= 12 and line.isdecimal() for line in page.lines)
        assert ("light on dark" in page.kind) == page.light_on_dark


def test_pages_are_of_all_kinds(pages):
    for name, values in {
        "polarity": ("dark on light", "light on dark"),
        "source": ("MNIST", "written"),
        "light": random_pages.LIGHTS,
        "rules": random_pages.RULES,
        "spacing": random_pages.SPACINGS,
    }.items():
        assert {page.traits[name] for page in pages} == set(values)
    assert {len(page.lines) for page in pages} >= {1, 2, 3}
    digits = "".join("".join(page.lines) for page in pages)
    assert set(digits) == set("0123456789")


def test_no_digit_pictures_are_of_all_kinds():
    kinds = [no_digit_picture(seed, longest=300)[1] for seed in range(len(NO_DIGITS))]
    assert kinds == list(NO_DIGITS)


def test_thin_strokes_are_one_pixel_wide_and_whole():
    ink = np.zeros((60, 60), bool)
    ink[10:50, 10:50] = True
    ink[20:40, 20:40] = False  # a ring
    middle = thin(ink)
    assert middle[30, :30].sum() == 1 and middle[:30, 30].sum() == 1
    assert 100 < middle.sum() < 140
    assert not thin(np.zeros((9, 9), bool)).any()


def test_plain_pages_are_read(shipped):
    results = read_pages(range(40), plain=True, model=shipped, longest=180)
    wrong = [str(result) for result in results if not result.exact]
    assert len(wrong) <= 0.025 * len(results), "\n".join(wrong)


@pytest.mark.parametrize(("seed", "kind"), [(30, "print"), (98, "print"), (77, "empty ruled"), (101, "scribbles")])
def test_what_looks_like_a_digit_here_and_there_is_none(shipped, seed, kind):
    """Letters of a printed page that a threshold makes 0 or 2; rules and waves, which become 1 when they are turned."""
    picture, drawn = no_digit_picture(seed)
    assert drawn == kind and read_array(picture, shipped) == []


def test_few_digits_are_invented(shipped):
    """Drawn shapes are left out: the reader still takes some of them for digits."""
    seeds = [seed for seed in range(26) if list(NO_DIGITS)[seed % len(NO_DIGITS)] not in LIKE_DIGITS]
    counts, invented = read_none(seeds, shipped, longest=180)
    assert not set(counts) & LIKE_DIGITS and sum(map(len, counts.values())) == len(seeds) >= 20
    assert len(invented) < 0.35 * len(seeds), invented


def test_written_letters_are_not_taken_for_digits(shipped):
    """Some fifty letters in all, and none looks like a digit."""
    seeds = [seed for seed in range(5 * len(NO_DIGITS)) if list(NO_DIGITS)[seed % len(NO_DIGITS)] == "letters by hand"]
    counts, invented = read_none(seeds, shipped, longest=400)
    assert len(counts["letters by hand"]) == 5
    assert sum(counts["letters by hand"]) <= 2, invented
