"""Pictures hold the pixels that they are given, in place."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")

from replication.model import latent
from replication.plots import pictures


@pytest.fixture
def images() -> np.ndarray:
    return np.arange(6 * 2 * 3).reshape(6, 6) / 36


def test_tiles_go_row_by_row(images):
    # Fails if width and height of an image are swapped, or if the tiles run down the columns.
    pixels = pictures.tile(images, 3, (2, 3))
    assert pixels.shape == (4, 9)
    np.testing.assert_array_equal(pixels[:2, 3:6], images[1].reshape(2, 3))
    np.testing.assert_array_equal(pixels[2:, :3], images[3].reshape(2, 3))


def test_digits_are_dark_on_white_and_faces_are_not(images):
    assert pictures.manifolds({"": images[:4]}, (2, 3), "mnist").axes[0].images[0].get_cmap().name == "gray_r"
    assert pictures.manifolds({"": images[:4]}, (2, 3), "frey_face").axes[0].images[0].get_cmap().name == "gray"


def test_panels_and_rows_carry_their_names(images):
    figure = pictures.panels({"2-D": images, "5-D": images, "third": images}, 3, (2, 3), "mnist", side_by_side=2)
    assert [axes.get_title() for axes in figure.axes] == ["2-D", "5-D", "third", ""]
    places = [axes.get_subplotspec() for axes in figure.axes]
    assert [(place.rowspan.start, place.colspan.start) for place in places[:3]] == [(0, 0), (0, 1), (1, 0)]
    figure.canvas.draw()
    left, right = (axes.get_position() for axes in figure.axes[:2])
    assert right.x0 - left.x1 > 0.02  # fails if the digits of one panel stand beside those of the next
    figure = pictures.rows({"test image": images, "other": images}, (2, 3), "mnist")
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["test image", "other"]


def test_points_of_the_posterior_are_drawn_as_their_labels(images):
    # Fails if a class has another's marker, which readers who cannot tell ten colours apart need.
    u, labels = np.array([[0.1, 0.9], [0.5, 0.5], [0.2, 0.8]]), np.array([3, 7, 3])
    scatters = pictures.posterior(images[:4], (2, 3), "mnist", u, labels).axes[1].collections
    np.testing.assert_array_equal(scatters[0].get_offsets(), u[[0, 2]])
    three, seven = (scatter.get_paths()[0].vertices for scatter in scatters)
    assert three.shape != seven.shape
    assert len(pictures.posterior(images[:4], (2, 3), "frey_face", u, None).axes[1].collections) == 1


def test_the_map_of_the_standard_run_stands_beside_that_of_the_changed_one(images):
    # Fails if one map is drawn twice, or under the other's name.
    changed, standard = pictures.manifolds({"M = 20": images[:4], "standard": images[2:]}, (2, 3), "mnist").axes
    for axes, title, means in ((changed, "M = 20", images[:4]), (standard, "standard", images[2:])):
        assert axes.get_title() == title
        np.testing.assert_array_equal(axes.images[0].get_array(), pictures.tile(means, 2, (2, 3)))


@pytest.mark.parametrize("side", [0, 1])
def test_the_sides_of_a_manifold_say_which_z_they_show(images, side):
    # Fails if a map of the latent space has no names, or ticks that are not where `unit_square` put the images.
    u = np.array([[0.1, 0.9]])
    for axes in [
        *pictures.manifolds({"": images[:4]}, (2, 3), "mnist").axes,
        *pictures.posterior(images[:4], (2, 3), "mnist", u, None).axes,
    ]:
        axis = (axes.xaxis, axes.yaxis)[side]
        assert axis.get_label_text() == ("$z_1$", "$z_2$")[side] and axis.get_visible() and axes.axison
        values = [float(label.get_text()) for label in axis.get_ticklabels()]
        np.testing.assert_allclose(axis.get_ticklocs(), latent.to_unit_square(np.array(values)))
    (picture,) = pictures.manifolds({"": images[:4]}, (2, 3), "mnist").axes[0].images
    assert tuple(picture.get_extent()) == (0, 1, 0, 1)


def test_a_map_with_labels_has_a_legend_and_glyphs_that_can_be_told_apart(images):
    # Ten thousand glyphs hide each other: fails if all are drawn.
    labels = np.arange(10_000) % 10
    u = np.random.default_rng(0).random((10_000, 2))
    _, axes = pictures.posterior(images[:4], (2, 3), "mnist", u, labels).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list("0123456789")
    assert sum(len(drawn.get_offsets()) for drawn in axes.collections) == pictures.MAX_GLYPHS


def test_latent_use_is_a_line_per_model_of_the_most_used():
    use = pd.DataFrame({"n_latent": [2, 2, 3, 3, 3], "rank": [1, 2, 1, 2, 3], "kl": [3, 2, 4, 1, 0.0]})
    axes = pictures.latent_use(use, 0.01).axes[0]
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [4, 1, 0])
    assert axes.get_xscale() == "linear" and axes.get_xlim() == (0.5, 30.5) and axes.get_ylim()[1] > 4
