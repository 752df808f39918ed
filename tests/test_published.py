"""The published files are found as other programs leave them, or downloaded; anything else is a clear error."""

import gzip
import hashlib
import pickle
import re
import ssl
import struct
import subprocess
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from replication import paths, published
from replication.errors import DataError, UnreachableError

IMAGES = "train-images-idx3-ubyte"
CLOSED = "http://127.0.0.1:9"  # nothing listens there


def idx(x: np.ndarray) -> bytes:
    return bytes([0, 0, 8, x.ndim]) + np.array(x.shape, ">i4").tobytes() + x.tobytes()


class Mirror(SimpleHTTPRequestHandler):
    """A folder of files, and a folder for each way in which a mirror fails."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        ways = {
            "circle": [302, "Location", self.path],
            "cut": [200, "Content-Length", 1000],
            "chunked": [200, "Transfer-Encoding", "chunked"],
            "encoded": [200, "Content-Encoding", "gzip"],
            "stalls": [200, "Content-Length", 1000],
            "page": [200, "X", "Y"],
            "empty": [200, "X", "Y"],
        }
        way = self.path.split("/")[1]
        if way not in ways:
            return super().do_GET()
        status, key, value = ways[way]
        body = {"circle": b"", "empty": b"", "chunked": b"5\r\nhello\r\n"}.get(
            way, b"<!DOCTYPE html><p>Log in to the network</p>"
        )
        self.send_response(status)
        self.send_header(key, value)
        self.close_connection = way in ("cut", "chunked", "stalls")
        if not self.close_connection:
            self.send_header("Content-Length", len(body))
        self.end_headers()
        self.wfile.write(body)
        if way == "stalls":
            time.sleep(1)


def serve(folder: Path, certificate: Path | None = None) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Mirror, directory=folder))
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


@pytest.fixture
def mnist() -> dict[str, np.ndarray]:
    """Small stand-ins for the four arrays."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 28, 28), dtype=np.uint8), rng.integers(0, 10, 30, dtype=np.uint8)
    return {file: images if "images" in file else labels for file in published.MNIST_SHA256}


@pytest.fixture
def faces() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, published.FREY_FACE_SHAPE, dtype=np.uint8)


@pytest.fixture
def served(tmp_path, monkeypatch, mnist, faces) -> Path:
    """Files that a mirror serves; nothing of them is on the machine yet. The first mirror of MNIST has none."""
    folder = tmp_path / "served"
    folder.mkdir()
    for file, x in mnist.items():
        (folder / f"{file}.gz").write_bytes(gzip.compress(idx(x)))
    scipy.io.savemat(folder / "frey_rawface.mat", {"ff": faces.T})
    (folder / "freyfaces.pkl").write_bytes(pickle.dumps(faces, protocol=0))
    server = serve(folder)
    url = f"http://127.0.0.1:{server.server_port}/"
    hashes = {file: hashlib.sha256(idx(x)).hexdigest() for file, x in mnist.items()}
    monkeypatch.setattr(published, "MNIST_SHA256", hashes)
    monkeypatch.setattr(published, "MNIST_MIRRORS", (f"{url}gone/", url))
    matlab_file = (folder / "frey_rawface.mat").read_bytes()
    monkeypatch.setattr(published, "FREY_RAWFACE_SHA256", hashlib.sha256(matlab_file).hexdigest())
    monkeypatch.setattr(published, "FREY_FACE_SHA256", hashlib.sha256(faces.tobytes()).hexdigest())
    monkeypatch.setattr(published, "FREY_FACE_MIRRORS", {file: url + file for file in published.FREY_FACE_MIRRORS})
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.delenv("REPLICATION_DATA_DIR", raising=False)
    yield folder
    server.shutdown()
    server.server_close()


@pytest.fixture
def mine(served, tmp_path, monkeypatch) -> Path:
    """The user's own folder, empty; no mirror answers."""
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.setenv("REPLICATION_DATA_DIR", str(folder))
    monkeypatch.setattr(published, "MNIST_MIRRORS", (f"{CLOSED}/",))
    monkeypatch.setattr(published, "FREY_FACE_MIRRORS", {f: f"{CLOSED}/{f}" for f in published.FREY_FACE_MIRRORS})
    return folder


def refusal(load, folder: Path) -> str:
    """What is said of a file in the user's own folder, which must stay there and is not to be deleted."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(DataError) as error:
        load()
    assert not isinstance(error.value, UnreachableError)  # the batch would go on with another dataset
    assert sorted(folder.rglob("*")) == before
    assert str(folder) in str(error.value) and "elete" not in str(error.value)
    return str(error.value)


PLACES = {
    "as published": "{}.gz",
    "unzipped": "{}",
    "with a dot": "{dotted}",
    "with a dot, zipped": "{dotted}.gz",
    "of Kaggle": "{}/{}",
    "of torchvision": "MNIST/raw/{}",
    "of torchvision, its own folder": "raw/{}.gz",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_mnist_is_found_however_other_programs_leave_it(mine, mnist, place):
    # Fails if the bytes of the archive are verified: gzip stores a time and a level.
    for file, x in mnist.items():
        target = mine / place.format(file, file, dotted=file.replace("-idx", ".idx"))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(idx(x), 1, mtime=7) if target.suffix == ".gz" else idx(x))
    assert published.is_here("mnist")
    for given, x in zip(published.mnist(), mnist.values(), strict=True):
        np.testing.assert_array_equal(given, x)


def test_a_browser_may_unpack_and_keep_the_name(mine, mnist):
    for file, x in mnist.items():
        (mine / f"{file}.gz").write_bytes(idx(x))
    np.testing.assert_array_equal(published.mnist()[0], mnist[IMAGES])


def matlab(**variables):
    return "frey_rawface.mat", lambda file: scipy.io.savemat(file, variables)


def pickled(content, protocol: int = 5, rename: tuple[bytes, bytes] = (b"", b"")):
    return "freyfaces.pkl", lambda file: file.write_bytes(pickle.dumps(content, protocol).replace(*rename))


RIGHT = {
    "pickle 0": lambda x: pickled(x, 0),
    "pickle 2": lambda x: pickled(x, 2),
    "pickle 5": lambda x: pickled(x),
    # Module names are written with their length: 19 and 18 letters.
    "pickle 5 of numpy 1": lambda x: pickled(x, 5, (b"\x13numpy._core.numeric", b"\x12numpy.core.numeric")),
    "pickle 5 by columns": lambda x: pickled(np.asfortranarray(x)),
    "pickle of a pair": lambda x: pickled((x, "labels")),
    "pickle of a dict": lambda x: pickled({"ff": x, "source": "Roweis"}),
    "pickle of an array per image": lambda x: pickled(list(x.reshape(-1, 28, 20))),
    "frames of 28 x 20": lambda x: pickled(x.reshape(-1, 28, 20)),
    "integers": lambda x: pickled(x.astype(int)),
    "whole floats": lambda x: matlab(ff=x.T.astype(float)),
    "transposed": lambda x: matlab(ff=x),
    "another variable": lambda x: matlab(faces=x.T, rows=np.arange(3)),
}


@pytest.mark.parametrize("make", RIGHT.values(), ids=RIGHT)
def test_frey_face_is_known_by_its_pixels(mine, faces, make):
    name, write = make(faces)
    write(mine / name)
    given = published.frey_face()
    assert given.dtype == np.uint8
    np.testing.assert_array_equal(given, faces)


def test_frey_face_beside_the_code_of_the_vampprior(mine, served, faces):
    (mine / "Freyfaces").mkdir()
    (served / "freyfaces.pkl").rename(mine / "Freyfaces/freyfaces.pkl")
    np.testing.assert_array_equal(published.frey_face(), faces)


WRONG_FREY_FACE = {
    "scaled": (lambda x: pickled(x / 255), r"float64 from 0 to 1, which are scaled; wanted are the grey values 0 to"),
    "standardised": (lambda x: matlab(ff=(x.T - 128.0)), r"from -128 to 127, which are not the grey values 0 to 255"),
    "cut": (lambda x: matlab(ff=x.T[:, :10]), r"holds uint8 \(560, 10\), but Frey Face is uint8 \(1965, 560\)"),
    "altered": (lambda x: pickled(x // 2), "is truncated or altered"),
    "no variable of its size": (
        lambda x: matlab(a=x[:2], b=x[:3]),
        r"these arrays: a \(2, 560\), b \(3, 560\);",
    ),
    "two arrays": (lambda x: pickled({"a": x, "b": x}), "holds a dict instead of an array"),
    "images of two sizes": (lambda x: pickled([*x[1:], x[0, :7]]), "cannot be read as a pickle"),
    "no array": (lambda x: pickled({"x": 1}), "holds a dict instead of an array"),
    "no numbers": (lambda x: pickled(np.full(x.shape, "a")), "holds <U1, but Frey Face has the grey values"),
}


@pytest.mark.parametrize(("make", "message"), WRONG_FREY_FACE.values(), ids=WRONG_FREY_FACE)
def test_another_frey_face_is_refused_in_words(mine, faces, make, message):
    name, write = make(faces)
    write(mine / name)
    assert re.search(message, refusal(published.frey_face, mine))


SPOILED = {
    "a page": (b"\r\n<!DOCTYPE html><html>Log in</html>", "is a web page instead of the file"),
    "empty": (b"", "is empty"),
    "no such container": (b"%PDF-1.7 and so on", "truncated or altered|cannot be read as a Matlab file"),
}


@pytest.mark.parametrize("dataset", ["mnist", "frey_face"])
@pytest.mark.parametrize(("content", "message"), SPOILED.values(), ids=SPOILED)
def test_what_lies_in_the_place_of_a_file_is_named(mine, dataset, content, message):
    name = f"{IMAGES}.gz" if dataset == "mnist" else "frey_rawface.mat"
    (mine / name).write_bytes(content)
    said = refusal(getattr(published, dataset), mine)
    assert re.search(message, said) and str(mine / name) in said and "python -m replication data" in said


def test_a_matlab_file_that_crashes_its_reader(mine, faces):
    # Fails if it takes this process with it: scipy takes the type of the values from the file without a check.
    file = mine / "frey_rawface.mat"
    scipy.io.savemat(file, {"ff": faces.T})
    content = file.read_bytes()
    unsigned_bytes, no_such_type = (struct.pack("<II", kind, faces.size) for kind in (2, 255))
    file.write_bytes(content.replace(unsigned_bytes, no_such_type))
    assert "cannot be read as a Matlab file (its reader crashed)" in refusal(published.frey_face, mine)


def test_matlab_7_3_says_how_to_save_it(mine):
    (mine / "frey_rawface.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(512))
    assert "save it in Matlab with `-v7`" in refusal(published.frey_face, mine)


def test_half_a_file_of_mnist(mine, served):
    content = (served / f"{IMAGES}.gz").read_bytes()
    (mine / f"{IMAGES}.gz").write_bytes(content[: len(content) // 2])
    assert "is truncated or altered (Compressed file ended" in refusal(published.mnist, mine)


def test_pickle_that_calls_something_is_never_executed(mine, tmp_path):
    # Plain pickle.load would create the file.
    target = tmp_path / "owned"
    (mine / "freyfaces.pkl").write_bytes(f"cposix\nsystem\n(S'touch {target}'\ntR.".encode())
    assert "posix.system" in refusal(published.frey_face, mine)
    assert not target.exists()


def test_mnist_comes_from_the_first_mirror_that_answers(served, mnist):
    # The first mirror has no such file; only the second delivers.
    np.testing.assert_array_equal(published.mnist()[2], mnist["t10k-images-idx3-ubyte"])
    kept = paths.DATA / "mnist"
    assert sorted(file.name for file in kept.iterdir()) == sorted(f"{file}.gz" for file in published.MNIST_SHA256)
    assert not paths.DATA.joinpath("frey_face").exists() and published.is_here("mnist")


def test_frey_face_falls_to_the_pickle_when_the_matlab_file_is_gone(served, faces):
    (served / "frey_rawface.mat").unlink()
    np.testing.assert_array_equal(published.frey_face(), faces)


@pytest.mark.parametrize("dataset", ["mnist", "frey_face"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"<html>Log in to the network</html>",
        lambda content: content[: len(content) // 2],
        lambda content: gzip.compress(idx(np.zeros((30, 28, 28), np.uint8))),
    ],
    ids=["HTML", "half a file", "the wrong file"],
)
def test_what_a_bad_mirror_serves_is_refused_and_not_kept_and_a_good_one_completes(served, dataset, spoil):
    # Fails if the next call finds the spoiled file and takes it, or asks the user to delete it.
    names = [f"{IMAGES}.gz"] if dataset == "mnist" else list(published.FREY_FACE_MIRRORS)
    good = {served / name: (served / name).read_bytes() for name in names}
    for file, content in good.items():
        file.write_bytes(spoil(content))
    with pytest.raises(UnreachableError, match=r"what it sends (is|cannot be read)"):
        getattr(published, dataset)()
    assert not (paths.DATA / dataset).exists()
    for file, content in good.items():
        file.write_bytes(content)
    assert len(getattr(published, dataset)())


def test_unwritable_data_folder_is_named(served):
    paths.DATA.write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"data/mnist/.* cannot be written: (.|\n)*REPLICATION_DATA_DIR"):
        published.mnist()


def test_a_file_that_cannot_be_opened_is_named(mine, served):
    # These are files that nobody can open, root included.
    (mine / "frey_rawface.mat").symlink_to("/proc/self/mem")
    (mine / "mnist").symlink_to("x" * 300)
    for load in (published.frey_face, published.mnist):
        assert "cannot be read: " in refusal(load, mine)


def test_unreachable_names_all_files_and_where_to_put_them(mine):
    with pytest.raises(UnreachableError) as error:
        published.mnist()
    last = str(error.value).splitlines()[-1]
    assert last == (
        "Put train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
        f"t10k-labels-idx1-ubyte.gz into {paths.DATA / 'mnist'}, or name a folder that holds them in "
        f"REPLICATION_DATA_DIR (now {mine})."
    )


NETWORK = {
    "circle": r"it redirects in a circle",
    "cut": r"the file broke off before its end",
    "chunked": r"the file broke off before its end",
    "encoded": r"the file is not encoded as the server says \(Error -3",
    "stalls": r"no answer within 0.2 s",
    "page": r"what it sends is a web page instead of the file",
    "empty": r"what it sends is empty",
    "gone": r"it answers 404 Client Error: File not found",
}


@pytest.mark.parametrize(("way", "message"), NETWORK.items())
def test_the_network_says_why(served, monkeypatch, way, message):
    # Fails if failures of different kinds read the same: what helps against one does not help against another.
    monkeypatch.setattr(published, "DOWNLOAD_TIMEOUT_S", 0.2 if way == "stalls" else 20)
    url = published.MNIST_MIRRORS[1]
    monkeypatch.setattr(published, "MNIST_MIRRORS", (f"{url}{way}/", f"{CLOSED}/"))
    with pytest.raises(UnreachableError) as error:
        published.mnist()
    _, bad, closed, _ = str(error.value).splitlines()  # a line per mirror
    assert re.fullmatch(rf"  {url}{way}/{IMAGES}\.gz: {message}.*", bad)
    assert closed == f"  {CLOSED}/{IMAGES}.gz: no connection (Connection refused)"
    assert not (paths.DATA / "mnist").exists()


def test_a_certificate_that_nobody_trusts(served, tmp_path, monkeypatch):
    certificate = tmp_path / "certificate.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout {certificate} -out -".split()
    made = subprocess.run(command, capture_output=True, check=True)
    with certificate.open("ab") as file:
        file.write(made.stdout)
    server = serve(served, certificate)
    monkeypatch.setattr(published, "MNIST_MIRRORS", (f"https://127.0.0.1:{server.server_port}/",))
    with pytest.raises(UnreachableError, match=r"no trusted connection \(self-signed certificate\); REQUESTS_CA_BUND"):
        published.mnist()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("HTTPS_PROXY", CLOSED, r"the proxy does not let it through \(Connection refused\): check HTTPS_PROXY"),
        ("HTTPS_PROXY", "http://host:no port", "Failed to parse"),
        (
            "REQUESTS_CA_BUNDLE",
            "/nowhere/to/be/found.pem",
            "certificate bundle, invalid path: /nowhere/to/be/found.pem",
        ),
    ],
)
def test_what_the_user_has_set_for_the_network(served, monkeypatch, variable, value, message):
    for name in (variable, variable.lower()):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(published, "MNIST_MIRRORS", ("https://mirror.invalid/",))
    with pytest.raises(UnreachableError, match=rf"mirror.invalid/.*: .*{message}"):
        published.mnist()


def test_a_mirror_whose_name_is_not_known(served, monkeypatch):
    monkeypatch.setattr(published, "MNIST_MIRRORS", ("http://mirror.invalid/",))
    with pytest.raises(UnreachableError, match=r"mirror.invalid.*: no connection \(.*[Nn]ame"):
        published.mnist()
