import pytest
from square_study import make_squares

from emoca_core.study.store import Store


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "study"


@pytest.fixture
def study(folder):
    return make_squares(folder)


@pytest.fixture
def store(folder, study):
    with Store.open(folder, study) as store:
        yield store
