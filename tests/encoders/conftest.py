"""What the tests of published encoders share."""

import pytest


@pytest.fixture(autouse=True)
def no_assets_of_this_machine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path_factory.getbasetemp() / "no-assets"))
