"""The Hugging Face hub, asked so that a silent one costs seconds: its library tries again for minutes, or for ever."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from emoca_core.errors import first_line

ANSWER_S = 10.0
"""Seconds after which a hub that is silent is one that cannot be reached."""
_CLIENTS = ("httpx", "httpx2", "requests")
"""HTTP clients of the library: which one depends on its version, and their errors come through."""


def has_file(repository: str, file: str, revision: str | None = None) -> bool | None:
    """Whether a repository has a file; ``None`` where the hub says nothing at all within ``ANSWER_S``.

    Raises:
        HfHubHTTPError: It says that there is no such repository, or that it may not be read.
        HFValidationError: The name is none.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    try:
        get_hf_file_metadata(hf_hub_url(repository, file, revision=revision), timeout=ANSWER_S)
    except EntryNotFoundError:
        return False
    except (HfHubHTTPError, HFValidationError):
        raise
    except Exception:  # what the library's own HTTP client raises changes with its versions
        return None
    return True


@contextmanager
def downloading() -> Iterator[None]:
    """Make one error of what a hub costs that says where a file is, and then nothing more.

    The library itself asks six times for the rest, ``HF_HUB_DOWNLOAD_TIMEOUT`` seconds each: a minute by default.

    Raises:
        ConnectionError: The library has given up.
    """
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _CLIENTS:
            raise
        raise ConnectionError(f"the Hugging Face hub broke off: {first_line(error)}") from None


def in_cache(repository: str, files: Iterable[str], revision: str | None = None) -> Path | None:
    """The first of some files of a repository that lies in the cache. Nobody is asked whether there is a newer one."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, file, revision=revision) for file in files)
    return next((Path(file) for file in found if isinstance(file, str)), None)
