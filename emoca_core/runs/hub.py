"""Packages that others have published on the Hugging Face hub."""

import re
from pathlib import Path

from emoca_core.errors import MissingAssetError, first_line
from emoca_core.registry.catalogue import PACKAGE_CARD
from emoca_core.runs.cards import PACKAGE_WEIGHTS
from emoca_core.weights.hub import downloading, has_file

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
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.removeprefix(SCHEME).partition("@")
    version = revision or None
    try:
        files = []
        for file in WANTED:  # one by one: snapshot_download waits for ever for the list of a hub that is silent
            there = has_file(repository, file, version)
            if there is None:
                return Path(snapshot_download(repository, revision=version, local_files_only=True))
            if there:
                with downloading():
                    files.append(hf_hub_download(repository, file, revision=version))
        if len(folders := {Path(file).parent for file in files}) == 1:
            return folders.pop()
        reason = "it changes at this moment: try again" if files else f"it holds none of {', '.join(WANTED)}"
    except LocalEntryNotFoundError:
        reason = "it is not in the cache of the Hugging Face hub, and the hub cannot be reached"
    except HfHubHTTPError as error:
        reason = first_line(error)
    except (HFValidationError, OSError) as error:
        reason = first_line(error)
    raise MissingAssetError(
        f"'{repository}' is no recipe ('emoca list recipe') and no folder, and as a repository it is not available: "
        f"{reason}"
    ) from None
