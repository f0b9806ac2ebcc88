"""A generator by its address: downloaded once, checked, and refused in one line when it is not what was meant."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import cosmogan
from cosmogan.config import GENERATORS
from hpc.files import checksum, read_json, write_json

WEIGHTS = GENERATORS["web-32"]
SHA256 = checksum(WEIGHTS)


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; of a file named cut.safetensors it sends the first half."""

    def log_message(self, *_):
        pass

    def copyfile(self, source, outputfile):
        cut = self.path.endswith("cut.safetensors")
        outputfile.write(source.read(1_000_000 if cut else -1))


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder with a generator, its address, and a function that ends its server."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    for name in ("web", "cut", "other"):
        shutil.copy(WEIGHTS, folder / f"{name}.safetensors")
        shutil.copy(WEIGHTS.with_suffix(".json"), folder / f"{name}.json")
    write_json(folder / "other.json", read_json(folder / "other.json") | {"sha256": "0" * 64})
    (folder / "page.json").write_text("<html>")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def end():
        server.shutdown()
        server.server_close()

    yield folder, f"http://127.0.0.1:{server.server_port}", end
    end()


def test_a_generator_is_downloaded_once_and_is_the_same(served, tmp_path):
    folder, address, _ = served
    first = cosmogan.load_generator(f"{address}/web.safetensors", sha256=SHA256.upper())
    np.testing.assert_array_equal(first.sample(2, seed=1), cosmogan.load_generator().sample(2, seed=1))
    (folder / "web.safetensors").unlink()  # from now on it is in the cache
    cosmogan.load_generator(f"{address}/web.safetensors", sha256=SHA256)
    assert len(list((tmp_path / "cache" / "cosmogan").rglob("*.*"))) == 2
    with pytest.raises(ValueError, match=r"web-32\.safetensors: expected .* SHA-256 1+, found"):
        cosmogan.load_generator(WEIGHTS, sha256="1" * 64)


@pytest.mark.parametrize(
    ("name", "sha256", "message"),
    [
        ("none.safetensors", SHA256, "none.json: cannot be downloaded: HTTP Error 404: File not found; see that"),
        ("cut.safetensors", SHA256, r"cut.safetensors: cut off: expected \d+ bytes, found 1000000; try again"),
        ("web.safetensors", "1" * 64, f"web.json: expected settings of the weights 1+, found those of {SHA256}"),
        ("other.safetensors", "0" * 64, f"other.safetensors: expected the SHA-256 0+, found {SHA256}"),
        ("page.safetensors", SHA256, "page.json: expected a generator's settings with the sha256 of its weights"),
        ("web.safetensors", None, r"web.safetensors: expected https, or sha256= with it"),
        ("web.json", SHA256, r"web.json: expected an address https://….safetensors"),
    ],
)
def test_what_is_not_the_generator_meant_is_one_line_and_not_kept(served, tmp_path, name, sha256, message):
    _, address, _ = served
    with pytest.raises(ValueError, match=message) as error:
        cosmogan.load_generator(f"{address}/{name}", sha256=sha256)
    assert str(error.value).startswith(address) and "\n" not in str(error.value)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_without_a_network_one_line_says_so(served):
    _, address, end = served
    end()
    with pytest.raises(ValueError, match=r"web\.json: cannot be downloaded: .*refused; download it elsewhere"):
        cosmogan.load_generator(f"{address}/web.safetensors", sha256=SHA256)
