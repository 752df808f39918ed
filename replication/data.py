"""MNIST, Frey Face and scikit-learn's digits: find, download, verify, split.

A file is looked for in `data/<dataset>/`, then in `$REPLICATION_DATA_DIR`, then downloaded to `data/<dataset>/`.
"""

import gzip
import hashlib
import io
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pooch
import requests

from replication import paths
from replication.config import DATASETS
from replication.errors import DataError, UnreachableError

SPLIT_SEED = 1312_6114  # Frey Face and digits come unsplit: a random split, the same for every run
AUTHORS_SPLIT_SEED = 0  # of numpy's legacy generator: see `_load_frey_face`
DOWNLOAD_TIMEOUT_S = 20

MNIST_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
FREY_FACE_MIRRORS = {
    "frey_rawface.mat": "https://cs.nyu.edu/~roweis/data/frey_rawface.mat",
    "freyfaces.pkl": "https://raw.githubusercontent.com/jmtomczak/vae_vampprior/master/datasets/Freyfaces/freyfaces.pkl",
}
FREY_FACE_SHAPE = (1965, 560)
FREY_FACE_SHA256 = "2438ba4f0d2a6bd8bac43de756141eaa33c8d248dd613d464bdb1210d9b7af78"  # of the decoded pixels


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
    # Each list has the files of one complete copy.
    copies: dict[str, list[list[str]]] = {
        "mnist": [list(MNIST_SHA256)],
        "frey_face": [[file] for file in FREY_FACE_MIRRORS],
        "digits": [[]],
    }
    is_here = any(all(_local_copy(name, file) for file in files) for files in copies[name])
    return load(name, preparation) if is_here else None


def _load_mnist(preparation: str) -> Dataset:
    """The first 50,000 of the official 60,000 training images and the 10,000 test images, scaled by 1/255.

    `authors`: by 1/256, as in the pickle of the Theano tutorials that they read (lisa-lab/pylearn2#93).
    """
    levels = 256 if preparation == "authors" else 255
    content = {file: _read_idx(_find_mnist(file)) for file in MNIST_SHA256}
    images, labels, x_test, labels_test = content.values()
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
    x = _scale(read_frey_face(_find_frey_face()), 256)
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
    return (x / np.float64(levels)).astype(np.float32)


def _local_copy(dataset: str, file: str) -> Path | None:
    folders = [paths.DATA / dataset]
    if override := paths.data_override():
        folders += [override, override / dataset]
    return next((folder / file for folder in folders if (folder / file).is_file()), None)


def _find_mnist(file: str) -> Path:
    if local := _local_copy("mnist", file):
        _verify_mnist(local)
        return local
    return _download("mnist", [(mirror + file, file) for mirror in MNIST_MIRRORS], verify=_verify_mnist)


def _verify_mnist(file: Path) -> None:
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != MNIST_SHA256[file.name]:
        raise _altered(file, found, MNIST_SHA256[file.name])


def _find_frey_face() -> Path:
    for file in FREY_FACE_MIRRORS:
        if local := _local_copy("frey_face", file):
            return local
    return _download("frey_face", [(url, file) for file, url in FREY_FACE_MIRRORS.items()], verify=read_frey_face)


def _download(dataset: str, sources: list[tuple[str, str]], verify: Callable[[Path], object]) -> Path:
    """The first mirror's file that passes `verify`; what does not pass is removed."""
    pooch.get_logger().setLevel("WARNING")  # it advises on hashes, which are checked here
    failures = []
    for url, file in sources:
        print(f"downloading {url}")
        try:
            downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=DOWNLOAD_TIMEOUT_S)
            copy = Path(pooch.retrieve(url, None, file, paths.DATA / dataset, downloader=downloader))
            verify(copy)
            return copy
        except requests.RequestException as error:
            failures.append(f"  {url}: {error.response.reason if error.response is not None else 'no connection'}")
        except DataError as error:
            copy.unlink()
            failures.append(f"  {url}: {str(error).splitlines()[0]}")
        except OSError as error:
            raise DataError(
                f"{dataset} cannot be written to {paths.DATA / dataset}: {error}. Check the folder."
            ) from error
    raise UnreachableError(
        f"{dataset} is not on this machine and no mirror delivered it:\n" + "\n".join(failures) + "\n"
        f"Put {' or '.join(dict.fromkeys(file for _, file in sources))} into {paths.DATA / dataset}, "
        "or name a folder that holds it in REPLICATION_DATA_DIR."
    )


def _altered(file: Path, found: str, expected: str) -> DataError:
    return DataError(
        f"{file} is truncated or altered: its SHA-256 is {found[:16]}..., expected {expected[:16]}...\n"
        "Delete it and run `python -m replication data`, which downloads and verifies it anew."
    )


def _read_idx(file: Path) -> np.ndarray:
    """An IDX file: two zero bytes, the type 8 (unsigned byte), the rank, the sizes as big-endian int32, the values."""
    content = gzip.decompress(file.read_bytes())
    rank = content[3]
    shape = np.frombuffer(content, ">i4", count=rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_frey_face(file: Path) -> np.ndarray:
    """The verified pixels [1965, 560] uint8 of a Matlab file or a pickle; raises DataError for any other content."""
    try:
        x = _read_matlab(file) if file.suffix == ".mat" else _ArrayUnpickler(file).array()
    except Exception as error:  # a damaged container fails anywhere inside its reader
        raise DataError(f"{file} cannot be read as Frey Face ({error}). Delete it and fetch it anew.") from error
    if x.shape != FREY_FACE_SHAPE or x.dtype != np.uint8:
        raise DataError(f"{file} holds {x.dtype} {x.shape}, but Frey Face is uint8 {FREY_FACE_SHAPE}. Delete it.")
    found = hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()
    if found != FREY_FACE_SHA256:
        raise _altered(file, found, FREY_FACE_SHA256)
    return x


def _read_matlab(file: Path) -> np.ndarray:
    import scipy.io

    return scipy.io.loadmat(file)["ff"].T


ADMITTED_IN_PICKLE = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles numpy arrays and nothing else, since a pickle from the network may name any function to call."""

    def __init__(self, file: Path):
        super().__init__(io.BytesIO(file.read_bytes()), encoding="latin1")

    def find_class(self, module: str, name: str):
        if (module, name) not in ADMITTED_IN_PICKLE:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no part of an array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)

    def array(self) -> np.ndarray:
        content = self.load()
        content = content[0] if isinstance(content, list | tuple) else content
        return content.reshape(len(content), -1)
