"""Google's <model-viewer> (Apache-2.0), which shows heads in browsers, as the package dash-model-viewer carries it."""

from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from emoca_core.errors import EmocaError

_PACKAGE, _SCRIPT = "dash-model-viewer", "dash_model_viewer/vendor/model-viewer-umd.min.js"


@cache
def model_viewer_script() -> bytes:
    """The script that defines the element ``model-viewer``; its licence stands at its beginning.

    Raises:
        EmocaError: The package that carries it has been changed.
    """
    path = Path(str(distribution(_PACKAGE).locate_file(_SCRIPT)))
    if not path.is_file():
        raise EmocaError(f"{_PACKAGE} carries no {_SCRIPT}: install it again, pip install --force-reinstall {_PACKAGE}")
    return path.read_bytes()
