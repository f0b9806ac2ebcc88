"""Find released generators by name; fetch those of an address once, into the user's cache."""

import hashlib
import re
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cosmogan.config import generator_file
from hpc.download import cache_folder, download
from hpc.files import checksum, read_json

SUFFIX = ".safetensors"
MAX_WEIGHTS, MAX_SETTINGS = 2 * 10**9, 10**7  # bytes that are downloaded
HUB = "hf:"  # begins an address on the Hugging Face Hub
REPOSITORY = re.compile(rf"{HUB}([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def find(name: str, sha256: str | None = None) -> Path:
    """Return the weights of a generator in the package, of a file, or of an address.

    Parameters
    ----------
    name : as `cosmogan.load_generator` takes it
    sha256 : of the weights; None: that which the settings state

    Raises
    ------
    ValueError
        when there is none of that name, or it cannot be downloaded, or is not the one meant.
    """
    return fetch(name, sha256) if "://" in name or name.startswith(HUB) else generator_file(name)


def fetch(address: str, sha256: str | None = None) -> Path:
    """Return a generator's weights in the cache, its settings beside them; download both where they are not there.

    Parameters
    ----------
    address : ``https://….safetensors``, where the settings have the same address with ``.json``; or
        ``hf:organisation/name@revision``, a repository that holds ``generator.safetensors`` and ``generator.json``
    sha256 : of the weights; None: that which the settings state

    Raises
    ------
    ValueError
        when the address is none of a generator, or a file cannot be had, is cut off, or is not the one meant.
    """
    source = _from_hub if address.startswith(HUB) else _from_web
    return source(address, sha256 and sha256.lower())


def _from_web(url: str, sha256: str | None) -> Path:
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.path.endswith(SUFFIX):
        raise ValueError(f"{url}: expected an address https://….safetensors")
    if parts.scheme == "http" and sha256 is None:
        raise ValueError(f"{url}: expected https, or sha256= with it: anyone between could change the file")
    folder = cache_folder("cosmogan") / "generators" / hashlib.sha256(url.encode()).hexdigest()[:16]
    path = folder / Path(unquote(parts.path)).name  # a %2F is a slash: only what follows the last one is a name
    if not _is_whole(path, sha256):
        settings = parts._replace(path=parts.path.removesuffix(SUFFIX) + ".json").geturl()
        _download(url, settings, path, sha256)
    return path


def _download(url: str, settings_url: str, path: Path, sha256: str | None) -> None:
    """Download weights and settings beside their places, and move them there when both are whole.

    Others who read them meanwhile, or download them, too, find the ones or the others.
    """
    with _new_folder(path.parent) as folder:
        weights = Path(folder) / path.name
        settings = weights.with_suffix(".json")
        download(settings_url, settings, MAX_SETTINGS)
        stated = _stated(settings)
        if stated is None:
            raise ValueError(f"{settings_url}: expected a generator's settings with the sha256 of its weights")
        if sha256 not in (None, stated):
            raise ValueError(f"{settings_url}: expected settings of the weights {sha256}, found those of {stated}")
        download(url, weights, MAX_WEIGHTS, stated)
        weights.replace(path)
        settings.replace(path.with_suffix(".json"))


def _from_hub(address: str, sha256: str | None) -> Path:
    match = REPOSITORY.fullmatch(address)
    if match is None:
        raise ValueError(f"{address}: expected hf:organisation/name@revision")
    path = _download_from_hub(address, match[1], match[2], again=False)
    if not _is_whole(path, sha256):  # damaged in the cache, or not the one meant
        path = _download_from_hub(address, match[1], match[2], again=True)
    if not _is_whole(path, sha256):
        expected = sha256 or _stated(path.with_suffix(".json"))
        raise ValueError(f"{address}: expected weights of the SHA-256 {expected}, found {checksum(path)}")
    return path


def _download_from_hub(address: str, repository: str, revision: str | None, again: bool) -> Path:
    """Return the weights in the Hub's own cache, with the settings of the same commit beside them."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise ValueError(f"{address}: huggingface_hub is not installed; pip install 'cosmogan[hf]'") from None
    try:
        settings = hf_hub_download(repository, "generator.json", revision=revision, force_download=again)
        commit = Path(settings).parent.name
        return Path(hf_hub_download(repository, "generator.safetensors", revision=commit, force_download=again))
    except Exception as error:  # of several libraries, others in each version
        why = " ".join(str(error.__cause__ or error).split())[:200]
        raise ValueError(f"{address}: cannot be downloaded: {why}") from None


def _new_folder(place: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder in the cache."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=place)
    except OSError as error:
        raise ValueError(f"{place}: {error.strerror}; set XDG_CACHE_HOME to a folder that can be written") from None


def _is_whole(path: Path, sha256: str | None) -> bool:
    """Say whether weights and settings are there, belong together, and are those meant."""
    settings = path.with_suffix(".json")
    if not (settings.exists() and path.exists()):
        return False
    stated = _stated(settings)
    return sha256 in (None, stated) and checksum(path) == stated


def _stated(settings: Path) -> str | None:
    """Return the weights' checksum as the settings state it; None where they state none."""
    try:
        tree = read_json(settings)
    except ValueError:
        return None
    return tree.get("sha256") if isinstance(tree, dict) else None
