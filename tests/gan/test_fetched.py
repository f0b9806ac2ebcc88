"""A generator by its address: downloaded once, checked, and refused in one line when it is not what was meant."""

import re
import shutil
import sys
import threading
import urllib.error
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request

import numpy as np
import pytest
from conftest import run

import cosmogan
from cosmogan.config import GENERATORS
from cosmogan.gan import fetched, released
from hpc.download import StaysSecure, download
from hpc.files import checksum, read_json, write_json

WEIGHTS = GENERATORS["web-32"]
SHA256 = checksum(WEIGHTS)


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; of cut.safetensors it sends the first half, and with ?endless it states no length."""

    def log_message(self, *_):
        pass

    def send_header(self, keyword, value):
        if not (keyword == "Content-Length" and self.path.endswith("?endless")):
            super().send_header(keyword, value)

    def copyfile(self, source, outputfile):
        cut = self.path.endswith("cut.safetensors")
        outputfile.write(source.read(1_000_000 if cut else -1))


COMMIT = "c0" * 20


class HubHandler(Handler):
    """Says which commit a file is of, and its checksum as its tag."""

    def end_headers(self):
        self.send_header("X-Repo-Commit", COMMIT)
        path = Path(self.translate_path(self.path))
        self.send_header("ETag", f'"{checksum(path) if path.is_file() else 0}"')
        super().end_headers()


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


def test_a_process_that_downloads_it_too_takes_nothing_from_one_that_reads_it(served, monkeypatch):
    _, address, _ = served
    path = fetched.fetch(f"{address}/web.safetensors", SHA256)

    def slowly(*arguments):
        released.read_settings(path)
        download(*arguments)
        released.read_settings(path)

    monkeypatch.setattr(fetched, "_is_whole", lambda *_: False)  # as it was when the other process began
    monkeypatch.setattr(fetched, "download", slowly)
    assert fetched.fetch(f"{address}/web.safetensors", SHA256) == path


def test_settings_of_other_weights_in_the_cache_are_replaced(served):
    _, address, _ = served
    path = fetched.fetch(f"{address}/web.safetensors", SHA256)
    write_json(path.with_suffix(".json"), read_json(path.with_suffix(".json")) | {"sha256": "0" * 64})
    cosmogan.load_generator(f"{address}/web.safetensors", sha256=SHA256)
    assert read_json(path.with_suffix(".json"))["sha256"] == SHA256


def test_no_address_leads_out_of_the_cache(served, tmp_path):
    _, address, _ = served
    path = fetched.fetch(f"{address}/..%2F..%2F..%2Fweb.safetensors", SHA256)
    assert path.resolve().parent.parent == tmp_path / "cache" / "cosmogan" / "generators"


def test_a_redirection_from_https_to_http_is_refused():
    with pytest.raises(urllib.error.HTTPError, match=r"redirected to http://b/x, which is not https"):
        StaysSecure().redirect_request(Request("https://a/x"), None, 302, "Found", {}, "http://b/x")
    assert StaysSecure().redirect_request(Request("https://a/x"), None, 302, "Found", {}, "https://b/x").host == "b"


def test_without_a_cache_that_can_be_written_one_line_names_the_setting(served, tmp_path, monkeypatch):
    _, address, _ = served
    (tmp_path / "cache").touch()
    with pytest.raises(ValueError, match=r"cache/cosmogan/.*: Not a directory; set XDG_CACHE_HOME"):
        cosmogan.load_generator(f"{address}/web.safetensors", sha256=SHA256)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(Path, "home", Path("~nobody-of-that-name").expanduser)
    with pytest.raises(ValueError, match=r"^XDG_CACHE_HOME: not set, and no home folder is known"):
        cosmogan.load_generator(f"{address}/web.safetensors", sha256=SHA256)


@pytest.mark.parametrize(("query", "found"), [("", WEIGHTS.stat().st_size), ("?endless", 1 << 20)])
def test_weights_larger_than_any_generators_are_not_downloaded(served, tmp_path, monkeypatch, query, found):
    _, address, _ = served
    monkeypatch.setattr(fetched, "MAX_WEIGHTS", 1_000_000)
    with pytest.raises(ValueError, match=f"expected at most 1000000 bytes, found {found} or more; see that"):
        cosmogan.load_generator(f"{address}/web.safetensors{query}", sha256=SHA256)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.fixture
def hub(tmp_path):
    """A server that answers as the Hugging Face Hub does, with org/web at the tag v1; the folder of its files, and a
    function that runs a line of Python in a process that takes it for the Hub."""
    pytest.importorskip("huggingface_hub", reason="not installed; `make test` adds it")
    folder = tmp_path / "hub/org/web/resolve" / COMMIT
    folder.mkdir(parents=True)
    (folder.parent / "v1").symlink_to(folder)
    for suffix in (".safetensors", ".json"):
        shutil.copy(WEIGHTS.with_suffix(suffix), folder / f"generator{suffix}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(HubHandler, directory=tmp_path / "hub"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path), "no_proxy": "*"}

    def python(line):
        return run([sys.executable, "-c", f"from cosmogan.gan import fetched; {line}"], **environment)

    yield folder, python
    server.shutdown()
    server.server_close()


def test_a_generator_on_the_hub_is_downloaded_once_and_checked(hub):
    folder, python = hub
    fetch = f"print(fetched.fetch('hf:org/web@v1', '{SHA256}'))"
    done = python(fetch)
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    np.testing.assert_array_equal(released.load(path).sample(2, seed=1), cosmogan.load_generator().sample(2, seed=1))
    path.resolve().write_bytes(b"damaged")
    assert python(fetch).stdout == done.stdout and checksum(path) == SHA256  # downloaded again
    (folder / "generator.safetensors").unlink()
    assert python(fetch).stdout == done.stdout  # from the cache


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf:org", "hf:org: expected hf:organisation/name@revision"),
        ("hf:org/web@v2", "hf:org/web@v2: cannot be downloaded: .*404"),
        ("hf:org/web@v1", f"hf:org/web@v1: expected weights of the SHA-256 1+, found {SHA256}"),
    ],
)
def test_what_is_not_on_the_hub_or_not_the_one_meant_is_one_line(hub, address, message):
    done = hub[1](f"fetched.fetch({address!r}, {'1' * 64!r})")
    assert re.search(f"^ValueError: {message}.*$", done.stderr.strip().splitlines()[-1]), done.stderr


def test_without_the_library_of_the_hub_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        ValueError, match=r"^hf:org/web: huggingface_hub is not installed; pip install 'cosmogan\[hf\]'$"
    ):
        cosmogan.load_generator("hf:org/web")


@pytest.mark.parametrize(
    ("name", "sha256", "message"),
    [
        ("none.safetensors", SHA256, "none.json: cannot be downloaded: HTTP Error 404: File not found; see that"),
        ("cut.safetensors", SHA256, r"cut.safetensors: cut off: expected \d+ bytes, found 1000000; try again"),
        ("web.safetensors", "1" * 64, f"web.json: expected settings of the weights 1+, found those of {SHA256}"),
        ("other.safetensors", "0" * 64, f"other.safetensors: expected the SHA-256 0+, found {SHA256}"),
        ("page.safetensors", SHA256, "page.json: expected a generator's settings with the sha256 of its weights"),
        ("wëb.safetensors", SHA256, r"wëb.json: cannot be downloaded: .*ascii"),
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
