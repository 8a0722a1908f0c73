"""Real photos are read by the shipped model; they lie beside the repository, where it is developed, and only there."""

import csv
import subprocess
import sys

import pytest
from conftest import PHOTOS
from pages import score_manifest

from photos.scoring import calibration

pytest_plugins = ["photo_fixtures"]

FIRST_PHOTOS = 37  # the rows of the manifest that the first limits were set for; the later ones are far harder


@pytest.fixture(scope="module")
def photo_scores(shipped):
    if not PHOTOS.exists():
        pytest.skip("the photos of the development are not here")
    return score_manifest(PHOTOS / "manifest.tsv", shipped)


def accuracy(scores):
    digits = sum(len(score.wanted) for score in scores)
    exact = sum(score.wanted == score.read for score in scores) / len(scores)
    return 1 - sum(score.wrong for score in scores) / digits, exact


def right_number_of_digits(scores):
    return sum(len(score.reading.digits) == len(score.wanted) for score in scores) / len(scores)


def test_photos_give_the_right_number_of_digits(photo_scores):
    assert right_number_of_digits(photo_scores[:FIRST_PHOTOS]) >= 0.97


def test_photos(photo_scores):
    digit_accuracy, exact = accuracy(photo_scores[:FIRST_PHOTOS])
    assert digit_accuracy >= 0.98
    assert exact >= 0.86
    assert calibration(photo_scores[:FIRST_PHOTOS])[1] <= 0.03


def test_all_photos_are_read_no_worse_than_so_far(photo_scores):
    digit_accuracy, exact = accuracy(photo_scores)
    assert digit_accuracy >= 0.96
    assert exact >= 0.88
    assert right_number_of_digits(photo_scores) >= 0.91
    assert calibration(photo_scores)[1] <= 0.03


def test_the_scores_are_those_of_the_official_scorer(photo_scores, tmp_path):
    digit_accuracy, exact = accuracy(photo_scores)
    readings = tmp_path / "readings.tsv"
    with open(readings, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t").writerows((score.row["file"], score.read) for score in photo_scores)
    command = [sys.executable, PHOTOS / "score.py", PHOTOS / "manifest.tsv", readings]
    official = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"digit accuracy {100 * digit_accuracy:5.1f}%" in official.splitlines()[0]
    assert f"exact {round(exact * len(photo_scores))}/{len(photo_scores)}" in official.splitlines()[0]
