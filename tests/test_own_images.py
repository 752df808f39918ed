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
