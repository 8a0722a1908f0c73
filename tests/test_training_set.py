"""What --augment trains on: the normalised set with its variants, kept for the next time, and a training with it."""

import ast
import shutil
import time

import numpy as np
import pytest
from conftest import ROOT

import training
from cnn_jit import CNNJit, all_logits, learn_batch
from distortion import distort_images, draw_distortions
from errors import run
from model_file import read_model
from photos import processes, training_set, variants
from photos.normalise import normalise
from photos.training_set import make_sets, normalise_images, whole_sets
from photos.variants import draw_variants
from sizes import PHOTO_CLASSES
from training import cosine, train_script, training_parser

# -- the sets ---------------------------------------------------------------------------------------------------------


def sets_of_400(mnist, seed=0, **options):
    return make_sets(mnist.train_images[:400], mnist.train_labels[:400], mnist.test_images[:50], seed, **options)


@pytest.fixture(scope="module")
def made(mnist):
    return sets_of_400(mnist)[0]


def test_the_set_begins_with_every_image_normalised(mnist, made):
    images, labels = made
    np.testing.assert_array_equal(images[:400], [normalise(image) for image in mnist.train_images[:400]])
    np.testing.assert_array_equal(labels[:400], mnist.train_labels[:400])
    assert (images.dtype, labels.dtype, images.shape) == (np.uint8, np.uint8, (len(labels), 28, 28))


def test_variants_written_digits_and_no_digits_follow(mnist, made):
    images, labels = made
    assert images[400:].any(axis=(1, 2)).all()
    assert set(labels[400:]) == set(range(PHOTO_CLASSES))
    added = labels[400:][labels[400:] < 10]
    assert 0.8 * 400 < len(added) < 1.2 * 400
    assert 0.25 * 400 < np.count_nonzero(labels >= 10) < 0.45 * 400
    ones = np.count_nonzero(mnist.train_labels[:400] == 1)
    assert np.count_nonzero(added == 1) > 1.1 * ones


def test_the_test_set_is_normalised_and_no_more(mnist):
    _, test_images = sets_of_400(mnist)
    np.testing.assert_array_equal(test_images, normalise_images(mnist.test_images[:50]))
    assert (test_images != mnist.test_images[:50]).any()


def test_the_sets_are_the_same_for_a_seed_however_many_processes(mnist, monkeypatch):
    called = []
    alone = sets_of_400(mnist, meanwhile=lambda: called.append("alone"))
    for module in (training_set, processes):
        monkeypatch.setattr(module, "CHUNK", 100)  # work enough for two processes
    monkeypatch.setattr(processes, "cores", lambda: 2)
    shared = sets_of_400(mnist, meanwhile=lambda: called.append("shared"))
    assert called == ["shared"]
    monkeypatch.undo()
    for found, wanted in zip((*shared[0], shared[1]), (*alone[0], alone[1]), strict=True):
        np.testing.assert_array_equal(found, wanted)
    other, _ = sets_of_400(mnist, seed=1)
    assert len(other[0]) != len(alone[0][0]) or (other[0] != alone[0][0]).any()


# -- kept for the next time -------------------------------------------------------------------------------------------


def test_the_whole_sets_are_kept_until_the_seed_changes_or_they_are_damaged(mnist, tmp_path, monkeypatch):
    kept = tmp_path / "kept.npz"
    monkeypatch.setattr(training_set, "KEPT", kept)
    few = mnist._replace(
        train_images=mnist.train_images[:20], train_labels=mnist.train_labels[:20], test_images=mnist.test_images[:5]
    )
    (images, labels), test_images = whole_sets(few, seed=0)
    written = kept.read_bytes()
    monkeypatch.setattr(training_set, "make_sets", None)  # not needed again
    (again, again_labels), again_test = whole_sets(few, seed=0)
    for found, wanted in ((again, images), (again_labels, labels), (again_test, test_images)):
        np.testing.assert_array_equal(found, wanted)
    monkeypatch.setattr(training_set, "make_sets", make_sets)
    kept.write_bytes(written[:1000])
    whole_sets(few, seed=0)
    assert len(kept.read_bytes()) == len(written)
    (other, _), _ = whole_sets(few, seed=1)
    assert other.shape != images.shape or (other != images).any()
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize(
    "changed",
    [
        {"train_labels": np.zeros(19, np.uint8)},
        {"train_images": np.zeros((20, 28, 27), np.uint8)},
        {"test_images": np.zeros((5, 28, 28), np.float32)},
        {"train_labels": np.array(["1"] * 20)},
        {"test_images": np.array([None])},
        {"version": None},
    ],
)
def test_kept_sets_of_another_form_are_made_again(changed, mnist, tmp_path, monkeypatch):
    monkeypatch.setattr(training_set, "KEPT", tmp_path / "kept.npz")
    made = (np.ones((20, 28, 28), np.uint8), np.ones(20, np.uint8)), np.ones((5, 28, 28), np.uint8)
    monkeypatch.setattr(training_set, "make_sets", lambda *_: made)
    whole_sets(mnist, seed=0)
    with np.load(tmp_path / "kept.npz") as kept:
        arrays = {name: kept[name] for name in kept.files}
    np.savez(tmp_path / "kept.npz", **arrays | changed)
    assert whole_sets(mnist, seed=0) is made
    (images, _), _ = whole_sets(mnist, seed=0)
    assert images is not made[0][0], "it was kept anew"


def test_sets_that_cannot_be_kept_are_used_all_the_same(mnist, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training_set, "KEPT", tmp_path / "gone" / "kept.npz")
    monkeypatch.setattr(training_set, "make_sets", lambda *_: (("images", "labels"), "test images"))
    assert whole_sets(mnist, seed=0) == (("images", "labels"), "test images")
    assert capsys.readouterr().err.endswith("kept.npz: not kept for the next time: its folder is missing\n")


def test_the_whole_sets_are_made_again_when_the_code_changes(mnist, tmp_path, monkeypatch):
    for name in training_set.SOURCES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(training_set, "ROOT", tmp_path)
    monkeypatch.setattr(training_set, "KEPT", tmp_path / "kept.npz")
    made = []
    few = (mnist.train_images[:2], mnist.train_labels[:2]), mnist.test_images[:2]
    monkeypatch.setattr(training_set, "make_sets", lambda *_: made.append(True) or few)
    for name in training_set.SOURCES:
        whole_sets(mnist, seed=0)
        made.clear()
        whole_sets(mnist, seed=0)
        assert made == [], "it was kept"
        with open(tmp_path / name, "a", encoding="utf-8") as file:
            file.write("# an edit\n")
        whole_sets(mnist, seed=0)
        assert made == [True], name


def test_what_decides_the_sets_is_in_the_version():
    """Every file that one of SOURCES imports is itself in SOURCES, unless it makes no difference to an image."""
    no_difference = {"files.py", "mnist_data.py", "photos/processes.py"}
    for name in training_set.SOURCES:
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                imported = f"{node.module.replace('.', '/')}.py"
                if (ROOT / imported).exists():
                    assert imported in {*training_set.SOURCES, *no_difference}, f"{name} imports {imported}"


# -- the variants -----------------------------------------------------------------------------------------------------


def test_only_some_digits_have_variants_and_half_are_written_anew(mnist, monkeypatch):
    written = []
    monkeypatch.setattr(variants, "DAMAGED", 0)
    monkeypatch.setattr(variants, "write_digit", lambda label, random: written.append(label) or "written")
    digits = {label: mnist.train_images[mnist.train_labels == label][0] for label in range(10)}
    drawn = {label: [] for label in digits}
    for label, image in digits.items():
        for seed in range(100):
            drawn[label] += draw_variants(image, label, np.random.default_rng(seed))
    varied = {label for label, images in drawn.items() if not all(isinstance(image, str) for image in images)}
    assert varied == {1, 4, 6, 7, 9}
    assert all(33 < written.count(label) < 67 for label in digits)


def test_a_sixth_are_damaged(mnist, monkeypatch):
    monkeypatch.setattr(variants, "damage", lambda image, random: "damaged")
    drawn = [draw_variants(mnist.train_images[0], 5, np.random.default_rng(seed)) for seed in range(300)]
    assert 30 < sum("damaged" in [image for image in images if isinstance(image, str)] for images in drawn) < 75


@pytest.mark.parametrize("draw", [variants.add_flag, variants.add_bar, variants.add_hook])
def test_drawn_variants_add_ink_and_take_none(mnist, draw):
    (digit,) = (digits[0] for digits, _, function in variants.VARIANTS if function is draw)
    for image in mnist.train_images[mnist.train_labels == digit][:30]:
        padded = np.pad(image, variants.ROOM)
        varied = draw(padded, np.random.default_rng(0))
        assert varied.shape == padded.shape and (varied >= padded).all() and varied.sum() > padded.sum()


@pytest.mark.parametrize("draw", [variants.stretch_top, variants.stretch_bottom])
def test_stretched_variants_are_taller(mnist, draw):
    padded = np.pad(mnist.train_images[18], variants.ROOM)  # a 6
    varied = draw(padded, np.random.default_rng(0))
    tall, before = (np.ptp(np.flatnonzero(image.max(axis=1) > 127)) for image in (varied, padded))
    assert varied.shape[1] == padded.shape[1] and 1.05 * before < tall < 1.8 * before


def test_an_image_without_ink_has_no_variants():
    blank = np.zeros((28, 28), np.uint8)
    assert [draw_variants(blank, label, np.random.default_rng(0)) for label in range(10)] == [[]] * 10
    assert not normalise_images(blank[None]).any()


# -- training ---------------------------------------------------------------------------------------------------------


def test_fit_trains_every_epoch_on_distorted_images(mnist):
    """The same as one fit after the other on each epoch's images, with each epoch's learning rate."""
    images, labels = mnist.train_images[:200], mnist.train_labels[:200]
    schedule = cosine(2)
    whole, parts = CNNJit(2, seed=5), CNNJit(2, seed=5)
    whole.fit(images, labels, 2, 32, 0.1, augment=True, schedule=schedule)
    for epoch in range(2):
        distorted = distort_images(images, draw_distortions(200, 5, epoch))
        parts.fit(distorted, labels, 1, 32, 0.1 * schedule(epoch))
    for found, wanted in zip(whole.parameters, parts.parameters, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_the_learning_rate_decays_from_1_to_0():
    shares = [cosine(14)(done) for done in range(14)]
    assert shares == sorted(shares, reverse=True)
    assert 0.99 < shares[0] < 1 and 0 < shares[-1] < 0.01
    assert np.mean(shares) == pytest.approx(0.5)


def test_augment_option_trains_tests_and_tells(mnist, tmp_path, capsys):
    model = tmp_path / "model.npz"
    options = "--images 480 --epochs 4 --filters 4 --activation relu --batch-size 16 --seed 1 --save"
    args = training_parser("").parse_args([*options.split(), str(model)])
    assert train_script(CNNJit, args, test_count=200) == 0
    _, meta = read_model(model)
    assert meta["recipe"]["augment"] is True and meta["recipe"]["images"] == 480
    images, labels = normalise_images(mnist.test_images[:200]), mnist.test_labels[:200]
    _, accuracy = CNNJit.load(model).evaluate(images, labels, among=10)  # all of them are digits
    assert meta["test_accuracy"] == accuracy > 0.6
    assert "epoch 4" in capsys.readouterr().out


def test_ctrl_c_while_normalising_leaves_the_model_file_alone(tmp_path, monkeypatch, capsys):
    def interrupted(image):
        raise KeyboardInterrupt

    monkeypatch.setattr(training_set, "normalise", interrupted)
    model = tmp_path / "model.npz"
    args = training_parser("").parse_args(["--images", "10", "--save", str(model)])
    with pytest.raises(SystemExit) as ended:
        run(lambda: train_script(CNNJit, args, test_count=10))
    assert ended.value.code == 130
    assert not model.exists() and "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "printed"), [(0, ""), (1, "compiling\n")])
def test_a_long_wait_is_explained_and_a_short_one_is_not(seconds, printed, monkeypatch, capsys):
    monkeypatch.setattr(training, "SILENCE", 0.2)
    with training.said_if_it_takes_long("compiling"):
        time.sleep(seconds)
    assert capsys.readouterr().err == printed


@pytest.mark.parametrize("augment", [False, True])
def test_what_the_cpu_compiles_ahead_is_what_training_takes(augment, mnist):
    """Also with the types of the arguments: a learning rate that is a whole number once compiled everything twice."""
    network = CNNJit(2, "relu", num_classes=11)  # a number of classes that no other test has
    before = network.parameters
    network.compile(64, augment)
    for found, array in zip(network.parameters, before, strict=True):
        np.testing.assert_array_equal(found, array)
    compiled = [len(function.signatures) for function in (learn_batch, all_logits)]
    network.fit(mnist.train_images[:20], mnist.train_labels[:20], 1, 8, 0.1, augment=augment)
    network.predict(mnist.train_images[:20])
    assert [len(function.signatures) for function in (learn_batch, all_logits)] == compiled
