"""MNIST, Frey Face, scikit-learn's digits, or a folder of your own images: scaled and split."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from replication import published
from replication.config import DATASETS
from replication.errors import DataError

SPLIT_SEED = 1312_6114  # Frey Face and digits come unsplit: a random split, the same for every run
TEST_SHARE = 0.1  # of the images of a folder
AUTHORS_SPLIT_SEED = 0  # of numpy's legacy generator: see `_load_frey_face`


class Dataset(NamedTuple):
    """Grey values in [0, 1] as float32: `x_train` [N, D], `x_test` [N_test, D]; labels where the dataset has them."""

    name: str
    x_train: np.ndarray
    x_test: np.ndarray
    labels_train: np.ndarray | None = None
    labels_test: np.ndarray | None = None


def load(name: str, preparation: str = "own") -> Dataset:
    """The named dataset, verified and prepared as `RunConfig.preparation` says (digits have one preparation).

    Raises DataError, or UnreachableError where no copy can be had.
    """
    if name == "digits":
        return _load_digits()
    return {"mnist": _load_mnist, "frey_face": _load_frey_face}[name](preparation)


def load_local(name: str, preparation: str = "own") -> Dataset | None:
    """The named dataset as `load` gives it, where a copy is on this machine; None, without a download, where not."""
    return load(name, preparation) if name == "digits" or published.is_here(name) else None


def _load_mnist(preparation: str) -> Dataset:
    """The first 50,000 of the official 60,000 training images and the 10,000 test images, scaled by 1/255.

    `authors`: by 1/256, as in the pickle of the Theano tutorials that they read (lisa-lab/pylearn2#93).
    """
    levels = 256 if preparation == "authors" else 255
    images, labels, x_test, labels_test = published.mnist()
    n_train = DATASETS["mnist"].n_train
    return Dataset(
        name="mnist",
        x_train=_scale(images.reshape(len(images), -1)[:n_train], levels),
        x_test=_scale(x_test.reshape(len(x_test), -1), levels),
        labels_train=labels[:n_train],
        labels_test=labels_test,
    )


def _load_frey_face(preparation: str) -> Dataset:
    """A random split of the 1965 frames into 1565 and 400, scaled by 1/256 as the authors do.

    `authors`: the split that `numpy.random.seed(0); numpy.random.shuffle(frames)` gives, under which the best
    independent Gaussian has the values of the paper's wake-sleep curves.
    """
    x = _scale(published.frey_face(), 256)
    order = np.random.RandomState(AUTHORS_SPLIT_SEED).permutation(len(x)) if preparation == "authors" else None
    train, test = _split(len(x), DATASETS["frey_face"].n_train, order)
    return Dataset("frey_face", x[train], x[test])


def _load_digits() -> Dataset:
    """The 1797 digits of 8 x 8 pixels that scikit-learn carries, scaled by 1/16."""
    from sklearn.datasets import load_digits

    x, labels = load_digits(return_X_y=True)
    x = _scale(x, 16)
    train, test = _split(len(x), DATASETS["digits"].n_train)
    return Dataset("digits", x[train], x[test], labels[train], labels[test])


def _split(n: int, n_train: int, order: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    if order is None:
        order = np.random.default_rng(SPLIT_SEED).permutation(n)
    return order[:n_train], order[n_train:]


def _scale(x: np.ndarray, levels: int) -> np.ndarray:
    """Grey values x, whole numbers from 0 to `levels`, over `levels`. To look them up is faster than to divide each."""
    scaled = (np.arange(levels + 1) / levels).astype(np.float32)
    return scaled[x.astype(np.uint8, copy=False)]


def from_folder(folder: str | Path) -> tuple[Dataset, tuple[int, int]]:
    """The PNGs of a folder as grey values in [0, 1], split at random, and the height and width that all of them have.

    Raises DataError where there are fewer than two, where one cannot be read, is grey with more than 8 bits or is
    transparent, and where sizes differ. Colours are turned to grey; of 16 bits of each, 8 are read.
    """
    folder = Path(folder).expanduser()
    files = sorted(file for file in folder.glob("[!.]*") if file.suffix.lower() == ".png")  # macOS adds hidden ones
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}. Name the one with your images.")
    if len(files) < 2:
        raise DataError(f"{folder} has fewer than two PNG files. Put your images there, saved as PNG.")
    images = [_read_png(file) for file in files]
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for file, image in zip(files, images, strict=True):
        by_shape.setdefault(image.shape, []).append(file.name)
    if len(by_shape) > 1:
        each = (
            f"{height} x {width} pixels: {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "")
            for (height, width), names in sorted(by_shape.items(), key=lambda item: -len(item[1]))
        )
        raise DataError(
            f"The images in {folder} have {len(by_shape)} sizes (height x width):\n  " + "\n  ".join(each) + "\n"
            "Cut or scale them to one size, for instance with PIL.ImageOps.fit."
        )
    x = _scale(np.stack(images).reshape(len(images), -1), 255)
    train, test = _split(len(x), len(x) - max(1, round(TEST_SHARE * len(x))))
    return Dataset(folder.name, x[train], x[test]), images[0].shape


def _lowest_alpha(image: Image.Image) -> int:
    return int(np.asarray(image)[..., 3].min()) if image.mode == "RGBA" else 255


def _read_png(file: Path) -> np.ndarray:
    try:
        with Image.open(file) as image:
            mode = image.mode
            seen = image.convert("RGBA") if image.has_transparency_data else image
            pixels, lowest_alpha = np.asarray(seen.convert("L")), _lowest_alpha(seen)
    except Exception as error:  # damaged bytes fail anywhere inside the reader
        raise DataError(f"{file} cannot be read as an image ({error}). Remove it or save it anew.") from error
    if mode[0] in "IF":  # as 8 bits, Pillow would cut its values, not scale them
        raise DataError(f"{file} has {16 if mode.startswith('I;16') else 32} bits per pixel. Save it with 8.")
    if lowest_alpha < 255:  # what colour lies below is for the program that shows it: often black, as is the ink
        raise DataError(f"{file} has transparent pixels. Save it without transparency, on a ground of your choice.")
    return pixels
