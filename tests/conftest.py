"""Fixtures that several test modules share."""

import signal
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]

# no deadline: a busy machine is not a bug
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")


def pytest_configure() -> None:
    """Let Ctrl-C stop tests and what they start: a background job is born deaf to it, and so are its children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The golden outputs and real photos beside the repository; tests that need them skip where they are absent."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the shared golden outputs are not beside this checkout")
    return folder
