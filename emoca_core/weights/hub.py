"""The Hugging Face hub, asked so that a silent one costs seconds: its library tries again for a minute, or for ever."""

from collections.abc import Iterable
from pathlib import Path

ANSWER_S = 10.0
"""Seconds after which a hub that is silent is one that cannot be reached."""


def answers(repository: str) -> bool:
    """Whether the hub says anything at all within ``ANSWER_S``."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        HfApi().model_info(repository, timeout=ANSWER_S)
    except (HfHubHTTPError, HFValidationError):
        return True  # what is wrong comes out when it is asked for the files
    except Exception:  # what the library's own HTTP client raises changes with its versions
        return False
    return True


def in_cache(repository: str, names: Iterable[str], revision: str | None = None) -> Path | None:
    """The first of some files of a repository that lies in the cache. Nobody is asked whether there is a newer one."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, name, revision=revision) for name in names)
    return next((Path(file) for file in found if isinstance(file, str)), None)
