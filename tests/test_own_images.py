"""A folder of one's own images: read as they are, or refused in words; the visible algorithm trains on them."""

import nbformat
import numpy as np
import pytest
from PIL import Image

from replication import data, paths
from replication.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """A folder with forty images of 4 x 6 pixels, the i-th all of grey value 6 i."""
    for i in range(40):
        Image.new("L", (6, 4), 6 * i).save(tmp_path / f"{i:02d}.png")
    return tmp_path


def test_a_folder_of_images_is_read_and_split(folder):
    # Fails if height and width are swapped, if an image is lost or lies in both parts, or if values are not in [0, 1].
    Image.new("RGB", (6, 4), (255, 255, 255)).save(folder / "white.PNG")
    (folder / "notes.txt").write_text("no image")
    (folder / "._00.png").write_text("what macOS writes beside an image")
    dataset, shape = data.from_folder(str(folder))
    assert shape == (4, 6) and dataset.x_train.shape == (37, 24) and dataset.x_test.shape == (4, 24)
    assert dataset.x_train.dtype == np.float32
    x = np.concatenate([dataset.x_train, dataset.x_test])
    np.testing.assert_allclose(sorted(x[:, 0]), [*(6 * np.arange(40) / 255), 1], atol=1e-7)
    np.testing.assert_array_equal(x.min(axis=1), x.max(axis=1))
    again, _ = data.from_folder(folder)
    np.testing.assert_array_equal(again.x_train, dataset.x_train)


def test_images_of_several_sizes_are_refused_with_their_names(folder):
    Image.new("L", (4, 6)).save(folder / "turned.png")
    with pytest.raises(
        DataError, match=r"2 sizes(.|\n)*4 x 6 pixels: 00.png and 39 more\n  6 x 4 pixels: turned.png\n"
    ):
        data.from_folder(folder)


def test_what_cannot_be_read_is_refused_with_its_name(folder, tmp_path_factory):
    with pytest.raises(DataError, match=r"There is no folder .*nowhere"):
        data.from_folder(folder / "nowhere")
    with pytest.raises(DataError, match="fewer than two PNG files"):
        data.from_folder(tmp_path_factory.mktemp("empty"))
    Image.fromarray(np.full((4, 6), 40_000, np.uint16)).save(folder / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png has 16 bits"):
        data.from_folder(folder)
    (folder / "deep.png").unlink()
    (folder / "40.png").write_bytes((folder / "00.png").read_bytes()[:40])
    with pytest.raises(DataError, match=r"40\.png cannot be read"):
        data.from_folder(folder)


def _with_alpha(alpha: int) -> Image.Image:
    return Image.fromarray(np.dstack([np.full((4, 6), 77, np.uint8)] * 3 + [np.full((4, 6), alpha, np.uint8)]))


@pytest.mark.parametrize(
    ("image", "kind", "message"),
    [
        (_with_alpha(0), "PNG", "has transparent pixels. Save it without transparency"),
        (_with_alpha(254).convert("LA"), "PNG", "has transparent pixels"),
        (_with_alpha(0).quantize(), "PNG", "has transparent pixels"),
        (Image.fromarray(np.full((4, 6), 0.5, np.float32)), "TIFF", "has 32 bits per pixel. Save it with 8"),
        (Image.new("1", (20_000, 20_000)), "PNG", "cannot be read as an image .*exceeds limit"),
    ],
    ids=["transparent", "grey and transparent", "palette and transparent", "floats", "huge"],
)
def test_images_whose_grey_values_would_be_guessed_are_refused(folder, image, kind, message):
    # Black ink on a transparent ground was read as an image that is black all over, floats of 0 to 1 as zeros.
    image.save(folder / "odd.png", format=kind)
    with pytest.raises(DataError, match=rf"odd\.png {message}"):
        data.from_folder(folder)


def test_an_opaque_alpha_channel_does_no_harm(folder):
    _with_alpha(255).save(folder / "screenshot.png")
    dataset, _ = data.from_folder(folder)
    assert 77 in np.round(255 * np.concatenate([dataset.x_train, dataset.x_test]))


def test_damage_is_said_whatever_the_reader_raises(folder):
    # Fails with a traceback: for a header that is too short Pillow raises a ValueError, for other damage an OSError.
    content = bytearray((folder / "00.png").read_bytes())
    content[11] = 4
    (folder / "40.png").write_bytes(content)
    with pytest.raises(DataError, match=r"40\.png cannot be read as an image \(Truncated IHDR"):
        data.from_folder(folder)


def test_the_visible_algorithm_trains_on_a_folder(folder):
    # Fails if what the notebook's lines read is not what its algorithm 1 asks for: the lines are run as they stand.
    notebook = nbformat.read(paths.NOTEBOOKS / "0_method.ipynb", as_version=4)
    (question,) = [cell.source for cell in notebook.cells if "### How do I train on my own images?" in cell.source]
    lines = question.split("```")[1].removeprefix("python\n").replace("my_images", str(folder))
    (algorithm_1,) = [cell.source for cell in notebook.cells if "algorithm-1" in cell.metadata["tags"]]
    namespace: dict = {}
    exec(lines, namespace)
    exec(algorithm_1, namespace)
    assert namespace["image_shape"] == (4, 6) and namespace["x_test"].shape == (4, 24)
    assert len(namespace["history"]) == 36 and np.isfinite(namespace["history"]).all()
