"""What --augment trains on: the normalised set with its variants, the warp of every epoch, and a training with them."""

import math

import augment
import numba
import numpy as np
import pytest
from augment import DRAWS, WARP_RANGES, draw_variants, draw_warps, make_sets, normalise_images, warp_images, whole_sets
from segment import normalise

from cnn_jit import CNNJit
from errors import run
from network import epoch_order, read_model
from training import cosine, train_script, training_parser


def dot(x, y):
    """One image (1, 28, 28) with a soft dot around (x, y), both in pixels."""
    rows, columns = np.mgrid[:28, :28]
    return np.round(255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 4)).astype(np.uint8)[None]


def middle_of_ink(image):
    """(x, y) of the centre of mass."""
    rows, columns = np.mgrid[:28, :28]
    return (columns * image.astype(float)).sum() / image.sum(), (rows * image.astype(float)).sum() / image.sum()


def warp_of(**values):
    """One warp that does only this."""
    return np.array([[values.get(name, 0) for name in WARP_RANGES]], np.float32)


# -- the warp ---------------------------------------------------------------------------------------------------------


def test_a_warp_of_zeros_gives_the_images_back(mnist):
    images = mnist.train_images[:50]
    np.testing.assert_array_equal(warp_images(images, np.zeros((50, DRAWS), np.float32)), images)


def test_warped_images_are_new_and_uint8(mnist):
    images = mnist.train_images[:50]
    before = images.copy()
    warped = warp_images(images, draw_warps(50, seed=0, epoch=0))
    assert (warped.shape, warped.dtype) == ((50, 28, 28), np.uint8)
    np.testing.assert_array_equal(images, before)
    assert (warped != images).any(axis=(1, 2)).all()


@pytest.mark.parametrize(
    "warp, where",
    [
        ({"shift_x": 3, "shift_y": -2}, (8 + 3, 13.5 - 2)),
        ({"angle": math.radians(90)}, (13.5, 8)),  # clockwise: from left of the middle to above it
        ({"angle": math.radians(30)}, (13.5 - 5.5 * math.cos(math.pi / 6), 13.5 - 5.5 * math.sin(math.pi / 6))),
        ({"log_width": math.log(1.4)}, (13.5 - 1.4 * 5.5, 13.5)),
        ({"log_height": math.log(1.4)}, (8, 13.5)),
        ({"wave_x": 2, "phase_x": math.pi / 2}, (8 - 2, 13.5)),
        ({"wave_y": 2, "phase_y": -math.pi / 2}, (8, 13.5 + 2)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_dot_goes_where_the_mathematics_says(warp, where):
    warped = warp_images(dot(8, 13.5), warp_of(**warp))[0]
    np.testing.assert_allclose(middle_of_ink(warped), where, atol=0.15)


def test_shear_moves_rows_against_each_other():
    above, below = (middle_of_ink(warp_images(dot(13.5, y), warp_of(shear=0.2))[0]) for y in (8.5, 18.5))
    np.testing.assert_allclose([above, below], [(13.5 + 0.2 * 5, 8.5), (13.5 - 0.2 * 5, 18.5)], atol=0.15)


def test_an_uneven_width_widens_one_side_and_narrows_the_other():
    ramp = np.tile(np.arange(28, dtype=np.uint8) * 9, (28, 1))  # ink tells from which column it came
    warped = warp_images(ramp[None], warp_of(uneven_x=0.02))[0]
    for column in (8, 19):
        from_middle = column - 13.5
        assert warped[14, column] == round(9 * (13.5 + from_middle + 0.02 * from_middle**2))


def test_pressure_darkens_or_lightens_grey_only():
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 10, :3] = 0, 128, 255
    for pressure, grey in ((0.2, 179), (-0.2, 77)):
        assert warp_images(image, warp_of(pressure=pressure))[0, 10, :3].tolist() == [0, grey, 255]


def test_nothing_comes_in_from_outside():
    full = np.full((1, 28, 28), 255, np.uint8)
    shifted = warp_images(full, warp_of(shift_x=5, shift_y=40))
    assert not shifted.any()
    shifted = warp_images(full, warp_of(shift_x=5))[0]
    assert not shifted[:, :5].any() and (shifted[:, 5:] == 255).all()


# -- chance -----------------------------------------------------------------------------------------------------------


def test_warps_depend_on_seed_and_epoch_alone():
    first = draw_warps(100, seed=3, epoch=2)
    np.testing.assert_array_equal(first, draw_warps(100, seed=3, epoch=2))
    for seed, epoch in ((3, 1), (4, 2)):
        assert (first != draw_warps(100, seed, epoch)).all()


def test_warps_stay_in_their_ranges():
    warps = draw_warps(1000, seed=0, epoch=0)
    for drawn, (low, high) in zip(warps.T, WARP_RANGES.values(), strict=True):
        assert low - 1e-6 <= drawn.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < drawn.max() <= high + 1e-6
        assert abs(drawn.mean() - (low + high) / 2) < 0.05 * (high - low)


def test_draws_have_nothing_to_do_with_each_other():
    """Neither those of an image, nor those of one image and the next, nor those of one epoch and the next."""
    now, then = draw_warps(2000, 0, 0), draw_warps(2000, 0, 1)
    columns = np.hstack([now[:-1], now[1:], then[:-1]])
    assert np.abs(np.corrcoef(columns.T) - np.eye(columns.shape[1])).max() < 0.12


def test_warps_have_nothing_to_do_with_the_order():
    order = epoch_order(0, 0, 1000)
    correlation = np.corrcoef(order, draw_warps(1000, 0, 0)[:, 0])[0, 1]
    assert abs(correlation) < 0.12


def test_warped_images_do_not_depend_on_the_threads(mnist):
    images, warps = mnist.train_images[:300], draw_warps(300, 0, 0)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = warp_images(images, warps)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(alone, warp_images(images, warps))


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


def test_variants_and_written_digits_follow(mnist, made):
    images, labels = made
    variants = labels[400:]
    assert set(variants) == set(range(10))
    assert 0.5 * 400 < len(variants) < 0.85 * 400
    assert images[400:].any(axis=(1, 2)).all()
    ones = np.count_nonzero(mnist.train_labels[:400] == 1)
    assert np.count_nonzero(variants == 1) > 1.1 * ones


def test_only_some_digits_have_variants_and_a_third_is_written_anew(mnist, monkeypatch):
    written = []
    monkeypatch.setattr(augment, "write_digit", lambda label, random: written.append(label) or "written")
    digits = {label: mnist.train_images[mnist.train_labels == label][0] for label in range(10)}
    drawn = {label: [] for label in digits}
    for label, image in digits.items():
        for seed in range(100):
            drawn[label] += draw_variants(image, label, np.random.default_rng(seed))
    varied = {label for label, variants in drawn.items() if not all(isinstance(variant, str) for variant in variants)}
    assert varied == {1, 4, 6, 7, 9}
    assert all(20 < written.count(label) < 47 for label in digits)


def test_the_test_set_is_normalised_and_no_more(mnist):
    _, test_images = sets_of_400(mnist)
    np.testing.assert_array_equal(test_images, normalise_images(mnist.test_images[:50]))
    assert (test_images != mnist.test_images[:50]).any()


def test_the_sets_are_the_same_for_a_seed_however_many_processes(mnist, monkeypatch):
    called = []
    alone = sets_of_400(mnist, meanwhile=lambda: called.append("alone"))
    monkeypatch.setattr(augment, "CHUNK", 100)  # work enough for two processes
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    shared = sets_of_400(mnist, meanwhile=lambda: called.append("shared"))
    assert called == ["shared"]
    monkeypatch.undo()
    for found, wanted in zip((*shared[0], shared[1]), (*alone[0], alone[1]), strict=True):
        np.testing.assert_array_equal(found, wanted)
    other, _ = sets_of_400(mnist, seed=1)
    assert len(other[0]) != len(alone[0][0]) or (other[0] != alone[0][0]).any()


def test_the_whole_sets_are_kept_until_the_seed_changes_or_they_are_damaged(mnist, tmp_path, monkeypatch):
    kept = tmp_path / "kept.npz"
    monkeypatch.setattr(augment, "KEPT", kept)
    few = mnist._replace(
        train_images=mnist.train_images[:20], train_labels=mnist.train_labels[:20], test_images=mnist.test_images[:5]
    )
    (images, labels), test_images = whole_sets(few, seed=0)
    written = kept.read_bytes()
    monkeypatch.setattr(augment, "make_sets", None)  # not needed again
    (again, again_labels), again_test = whole_sets(few, seed=0)
    for found, wanted in ((again, images), (again_labels, labels), (again_test, test_images)):
        np.testing.assert_array_equal(found, wanted)
    monkeypatch.setattr(augment, "make_sets", make_sets)
    kept.write_bytes(written[:1000])
    whole_sets(few, seed=0)
    assert len(kept.read_bytes()) == len(written)
    (other, _), _ = whole_sets(few, seed=1)
    assert other.shape != images.shape or (other != images).any()
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize("draw", [augment.add_flag, augment.add_bar, augment.add_hook])
def test_drawn_variants_add_ink_and_take_none(mnist, draw):
    (digit,) = (digits[0] for digits, _, function in augment.VARIANTS if function is draw)
    for image in mnist.train_images[mnist.train_labels == digit][:30]:
        padded = np.pad(image, augment.ROOM)
        varied = draw(padded, np.random.default_rng(0))
        assert varied.shape == padded.shape and (varied >= padded).all() and varied.sum() > padded.sum()


@pytest.mark.parametrize("draw", [augment.stretch_top, augment.stretch_bottom])
def test_stretched_variants_are_taller(mnist, draw):
    padded = np.pad(mnist.train_images[18], augment.ROOM)  # a 6
    varied = draw(padded, np.random.default_rng(0))
    tall, before = (np.ptp(np.flatnonzero(image.max(axis=1) > 127)) for image in (varied, padded))
    assert varied.shape[1] == padded.shape[1] and 1.05 * before < tall < 1.8 * before


def test_an_image_without_ink_has_no_variants():
    blank = np.zeros((28, 28), np.uint8)
    assert [draw_variants(blank, label, np.random.default_rng(0)) for label in range(10)] == [[]] * 10
    assert not normalise_images(blank[None]).any()


# -- training ---------------------------------------------------------------------------------------------------------


def test_fit_trains_every_epoch_on_warped_images(mnist):
    """The same as one fit after the other on each epoch's images, with each epoch's learning rate."""
    images, labels = mnist.train_images[:200], mnist.train_labels[:200]
    schedule = cosine(2)
    whole, parts = CNNJit(2, seed=5), CNNJit(2, seed=5)
    whole.fit(images, labels, 2, 32, 0.1, augment=True, schedule=schedule)
    for epoch in range(2):
        warped = warp_images(images, draw_warps(200, 5, epoch))
        parts.fit(warped, labels, 1, 32, 0.1 * schedule(epoch))
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
    assert train_script(CNNJit, args, test_images=200) == 0
    _, meta = read_model(model)
    assert meta["recipe"]["augment"] is True and meta["recipe"]["images"] == 480
    _, accuracy = CNNJit.load(model).evaluate(normalise_images(mnist.test_images[:200]), mnist.test_labels[:200])
    assert meta["test_accuracy"] == accuracy > 0.6
    assert "epoch 4" in capsys.readouterr().out


def test_ctrl_c_while_normalising_leaves_the_model_file_alone(tmp_path, monkeypatch, capsys):
    def interrupted(image):
        raise KeyboardInterrupt

    monkeypatch.setattr(augment, "normalise", interrupted)
    model = tmp_path / "model.npz"
    args = training_parser("").parse_args(["--images", "10", "--save", str(model)])
    with pytest.raises(SystemExit) as ended:
        run(lambda: train_script(CNNJit, args, test_images=10))
    assert ended.value.code == 130
    assert not model.exists() and "interrupted" in capsys.readouterr().err
