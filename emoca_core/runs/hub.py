"""Packages that others have published on the Hugging Face hub."""

import re
from pathlib import Path

from emoca_core.errors import MissingAssetError
from emoca_core.registry.catalogue import PACKAGE_CARD
from emoca_core.runs.cards import PACKAGE_WEIGHTS
from emoca_core.weights.hub import answers

SCHEME = "hf://"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
WANTED = (PACKAGE_CARD, PACKAGE_WEIGHTS, "registry.yaml", "README.md", "LICENSES.md")
"""Files of a package; nothing else is downloaded."""


def is_repository(name: str) -> bool:
    """Whether a name means a repository: ``hf://owner/name``, or ``owner/name`` where ``owner`` is no folder."""
    bare = name.removeprefix(SCHEME)
    if not _REPOSITORY.fullmatch(bare):
        return False
    return name.startswith(SCHEME) or not Path(bare.partition("/")[0]).exists()


def download(name: str) -> Path:
    """The folder of a repository: from the cache, else from the hub.

    Args:
        name: ``owner/name`` with or without ``hf://`` in front and ``@REVISION`` behind.

    Raises:
        MissingAssetError: There is no such repository, or it is not in the cache and the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.removeprefix(SCHEME).partition("@")
    silent = not answers(repository)
    try:
        return Path(
            snapshot_download(
                repository, revision=revision or None, allow_patterns=list(WANTED), local_files_only=silent
            )
        )
    except LocalEntryNotFoundError:
        reason = "it is not in the cache of the Hugging Face hub, and the hub cannot be reached"
    except HfHubHTTPError as error:
        reason = str(error).strip().splitlines()[0]
    except (HFValidationError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    raise MissingAssetError(
        f"'{repository}' is no recipe ('emoca list recipe') and no folder, and as a repository it is not available: "
        f"{reason}"
    ) from None
