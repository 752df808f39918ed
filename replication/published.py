"""The files of MNIST and Frey Face as they were published: found on this machine or downloaded, verified, decoded.

A file is known by its decoded values, so it may be packed, named and placed as other programs do. It is looked for
below `data/`, then below `$REPLICATION_DATA_DIR`, then downloaded to `data/<dataset>/`.
"""

import gzip
import hashlib
import io
import pickle
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import requests

from replication import paths, progress
from replication.errors import DataError, RecordError, UnreachableError
from replication.files import write_atomically

DOWNLOAD_TIMEOUT_S = 20

MNIST_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
# Of the unpacked files; the mirrors have them with .gz.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
FREY_FACE_MIRRORS = {
    "frey_rawface.mat": "https://cs.nyu.edu/~roweis/data/frey_rawface.mat",
    "freyfaces.pkl": "https://raw.githubusercontent.com/jmtomczak/vae_vampprior/master/datasets/Freyfaces/freyfaces.pkl",
}
FREY_RAWFACE_SHA256 = "e0c432ee8b1a79e9adfeaa5522036c99261dde9d5bc77309e1b98b3ce884e249"  # of the Matlab file
FREY_FACE_SHAPE = (1965, 560)
FREY_FACE_SHA256 = "2438ba4f0d2a6bd8bac43de756141eaa33c8d248dd613d464bdb1210d9b7af78"  # of the pixels

# Where a dataset lies below a folder of data: here, beside others, and as torchvision and the VampPrior's code have it.
SUBFOLDERS = {"mnist": ("mnist", "", "MNIST/raw", "raw"), "frey_face": ("frey_face", "", "Freyfaces")}
WANTED = {
    "mnist": "{}.gz, {}.gz, {}.gz and {}.gz".format(*MNIST_SHA256),
    "frey_face": " or ".join(FREY_FACE_MIRRORS),
}
# A variable may be named `file`, which is a parameter of savez: hence the prefix.
MATLAB_TO_NPZ = """
import io, sys, numpy, scipy.io
variables = scipy.io.loadmat(io.BytesIO(sys.stdin.buffer.read()))
arrays = {f"of_{name}": x for name, x in variables.items() if isinstance(x, numpy.ndarray) and x.dtype.kind in "biufc"}
numpy.savez(sys.stdout.buffer, **arrays)
"""
ADMITTED_IN_PICKLE = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _Unfit(Exception):
    """A file is not the published one: its text goes on after the name of the file."""


def mnist() -> list[np.ndarray]:
    """Training images [60000, 28, 28] and labels, test images [10000, 28, 28] and labels, uint8.

    Raises DataError, or UnreachableError where no copy can be had.
    """
    return [_mnist(file) for file in MNIST_SHA256]


def frey_face() -> np.ndarray:
    """The pixels [1965, 560] as uint8; raises DataError, or UnreachableError where no copy can be had."""
    if file := _frey_face_here():
        return _read(file, _decode_frey_face)
    return _download("frey_face", [(url, file) for file, url in FREY_FACE_MIRRORS.items()], _decode_frey_face)


def is_here(dataset: str) -> bool:
    """Whether a copy is on this machine, as far as names tell."""
    return all(map(_mnist_here, MNIST_SHA256)) if dataset == "mnist" else _frey_face_here() is not None


def _mnist(file: str) -> np.ndarray:
    decode = partial(_decode_mnist, sha256=MNIST_SHA256[file])
    if here := _mnist_here(file):
        return _read(here, decode)
    return _download("mnist", [(f"{mirror}{file}.gz", f"{file}.gz") for mirror in MNIST_MIRRORS], decode)


def _mnist_here(file: str) -> Path | None:
    dotted = file.replace("-idx", ".idx")
    return _find("mnist", [f"{file}.gz", file, f"{dotted}.gz", dotted, f"{file}/{file}"])


def _frey_face_here() -> Path | None:
    return _find("frey_face", list(FREY_FACE_MIRRORS))


def _find(dataset: str, names: list[str]) -> Path | None:
    """The first file of one of these names, in `data/` before the user's own folder."""
    roots = [paths.DATA, override] if (override := paths.data_override()) else [paths.DATA]
    files = [root / folder / name for root in roots for folder in SUBFOLDERS[dataset] for name in names]
    try:
        return next((file for file in files if file.is_file()), None)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}. Make its folder readable.") from error


def _read(file: Path, decode: Callable[[str, bytes], np.ndarray]) -> np.ndarray:
    """A verified file of this machine. It is the user's, so no message asks to delete it."""
    try:
        return decode(file.name, file.read_bytes())
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}. Make it readable.") from error
    except _Unfit as error:
        raise DataError(
            f"{file} {error}.\nPut the published file in its place. Or give it another name and run "
            "`python -m replication data`, which downloads one."
        ) from error


def _download(dataset: str, sources: list[tuple[str, str]], decode: Callable[[str, bytes], np.ndarray]) -> np.ndarray:
    """The first mirror's file that `decode` takes, which is kept in `data/<dataset>/`."""
    failures = []
    for url, name in sources:
        print(f"downloading {url}")
        try:
            content = _fetch(url)
        except (OSError, ValueError) as error:  # those of requests are OSErrors, a proxy's address may be a ValueError
            failures.append(f"  {url}: {_why(error)}")
            continue
        try:
            x = decode(name, content)
        except _Unfit as error:
            failures.append(f"  {url}: what it sends {error}")
            continue
        _keep(paths.DATA / dataset / name, content)
        return x
    override = paths.data_override()
    raise UnreachableError(
        f"{dataset} is not on this machine and no mirror delivered it:\n" + "\n".join(failures) + "\n"
        f"Put {WANTED[dataset]} into {paths.DATA / dataset}, or name a folder that holds "
        f"{'them' if dataset == 'mnist' else 'it'} in REPLICATION_DATA_DIR{f' (now {override})' if override else ''}."
    )


def _fetch(url: str) -> bytes:
    with requests.get(url, stream=True, timeout=DOWNLOAD_TIMEOUT_S) as response:
        response.raise_for_status()
        chunks = []
        with progress.bar(int(response.headers.get("Content-Length", 0)), "byte") as bar:
            for chunk in response.iter_content(2**16):
                chunks.append(chunk)
                bar.update(len(chunk))
    return b"".join(chunks)


def _why(error: Exception) -> str:
    """Why a mirror did not deliver: the kind of failure, and the words of the error that began it."""
    root: BaseException = error
    while inner := root.__cause__ or root.__context__:
        root = inner
    words = getattr(root, "verify_message", None) or getattr(root, "strerror", None) or str(root).strip()
    words = words.splitlines()[0] if words else type(root).__name__
    match error:
        case requests.HTTPError():
            return f"it answers {str(error).partition(' for url')[0]}"
        case requests.TooManyRedirects():
            return "it redirects in a circle"
        case requests.exceptions.ProxyError():
            return f"the proxy does not let it through ({words}): check HTTPS_PROXY and NO_PROXY"
        case requests.exceptions.SSLError():
            return f"no trusted connection ({words}); REQUESTS_CA_BUNDLE may name the certificates to trust"
        case requests.exceptions.ChunkedEncodingError():
            return "the file broke off before its end"
        case requests.exceptions.ContentDecodingError():
            return f"the file is not encoded as the server says ({words})"
        case _ if isinstance(root, TimeoutError):
            return f"no answer within {DOWNLOAD_TIMEOUT_S} s"
        case requests.ConnectionError():
            return f"no connection ({words})"
    return words


def _keep(file: Path, content: bytes) -> None:
    try:
        write_atomically(file, lambda temporary: temporary.write_bytes(content))
    except RecordError as error:
        raise DataError(f"{error} Or name a folder that holds {file.name} in REPLICATION_DATA_DIR.") from error


def _decode_mnist(name: str, content: bytes, sha256: str) -> np.ndarray:
    """An IDX file: two zero bytes, the type 8 (unsigned byte), the rank, the sizes as big-endian int32, the values.

    Raises _Unfit unless its unpacked bytes have the hash.
    """
    _refuse_a_page(content)
    if content.startswith(b"\x1f\x8b"):  # by content: some browsers unpack a download, and leave it its name
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise _Unfit(f"is truncated or altered ({error})") from error
    _verify(content, sha256, "; Fashion-MNIST's files have the same names")
    rank = content[3]
    shape = np.frombuffer(content, ">i4", count=rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def _decode_frey_face(name: str, content: bytes) -> np.ndarray:
    """The pixels [1965, 560] uint8 of a Matlab file or a pickle; raises _Unfit for any other content."""
    _refuse_a_page(content)
    x = _from_matlab(content) if name.endswith(".mat") else _from_pickle(content)
    if x.size != np.prod(FREY_FACE_SHAPE):
        raise _Unfit(f"holds {x.dtype} {x.shape}, but Frey Face is uint8 {FREY_FACE_SHAPE}")
    pixels = _as_grey_values(x.T if x.shape[-1] == FREY_FACE_SHAPE[0] else x).reshape(FREY_FACE_SHAPE)
    _verify(pixels.tobytes(), FREY_FACE_SHA256)
    return pixels


def _refuse_a_page(content: bytes) -> None:
    if not content:
        raise _Unfit("is empty")
    if content.lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(b"<"):
        raise _Unfit("is a web page instead of the file: of a login, or of the page that links to the file")


def _verify(decoded: bytes, sha256: str, besides: str = "") -> None:
    given = hashlib.sha256(decoded).hexdigest()
    if given != sha256:
        hashes = f"the SHA-256 of what it holds is {given[:16]}..., expected {sha256[:16]}..."
        raise _Unfit(f"is truncated or altered ({hashes}{besides})")


def _as_grey_values(x: np.ndarray) -> np.ndarray:
    """Whole numbers of any type as uint8; raises _Unfit where that would change a value."""
    if x.dtype.kind not in "biuf":
        raise _Unfit(f"holds {x.dtype}, but Frey Face has the grey values 0 to 255")
    with np.errstate(invalid="ignore"):
        pixels = x.astype(np.uint8)
    if not np.array_equal(pixels, x):
        scaled = "are scaled; wanted are" if x.min() >= 0 and x.max() <= 1 else "are not"
        raise _Unfit(f"holds {x.dtype} from {x.min():.4g} to {x.max():.4g}, which {scaled} the grey values 0 to 255")
    return pixels


def _from_matlab(content: bytes) -> np.ndarray:
    """The variable `ff`, or the only array of its size."""
    if hashlib.sha256(content).hexdigest() == FREY_RAWFACE_SHA256:
        import scipy.io

        return scipy.io.loadmat(io.BytesIO(content))["ff"]
    if content.startswith(b"MATLAB 7.3"):  # HDF5
        raise _Unfit("is a file of Matlab 7.3, which cannot be read here: save it in Matlab with `-v7`")
    arrays = _read_matlab_apart(content)
    fitting = {name: x for name, x in arrays.items() if x.size == np.prod(FREY_FACE_SHAPE)}
    if "ff" in arrays:
        return arrays["ff"]
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    listed = ", ".join(f"{name} {x.shape}" for name, x in arrays.items()) or "none"
    raise _Unfit(f"has these arrays: {listed}; Frey Face is one of {FREY_FACE_SHAPE[::-1]}, as a rule `ff`")


def _read_matlab_apart(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of numbers in a Matlab file, read by another process: on damaged bytes scipy's reader may crash."""
    command = [sys.executable, "-P", "-c", MATLAB_TO_NPZ]
    reader = subprocess.run(command, input=content, capture_output=True)
    if reader.returncode:
        said = reader.stderr.decode(errors="replace").strip().rpartition("\n")[2].partition(": ")[2]
        raise _Unfit(f"cannot be read as a Matlab file ({said or 'its reader crashed'})")
    with np.load(io.BytesIO(reader.stdout)) as arrays:
        return {name.removeprefix("of_"): x for name, x in arrays.items()}


def _from_pickle(content: bytes) -> np.ndarray:
    """An array, alone, first in a list or the only one in a dict, or one for each image; raises _Unfit for all else."""
    try:
        x = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
        if isinstance(x, dict) and len(arrays := [y for y in x.values() if isinstance(y, np.ndarray)]) == 1:
            (x,) = arrays
        if isinstance(x, list | tuple) and x:
            x = np.array(x) if len(x) == FREY_FACE_SHAPE[0] else x[0]
    except Exception as error:  # damaged bytes fail anywhere inside the reader
        raise _Unfit(f"cannot be read as a pickle ({error})") from error
    if not isinstance(x, np.ndarray):
        raise _Unfit(f"holds a {type(x).__name__} instead of an array")
    return x


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles numpy arrays and nothing else, since a pickle from the network may name any function to call."""

    def find_class(self, module: str, name: str):
        if (module, name) not in ADMITTED_IN_PICKLE:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no part of an array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
