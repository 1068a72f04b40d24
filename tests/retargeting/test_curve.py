"""Intensity along time."""

import numpy as np
import pytest

from emoca_core.errors import ParamsError
from emoca_core.retargeting import Curve


def test_it_passes_through_its_moments_and_never_beyond():
    times, values = Curve.parse("0:0,1:1,2:0.5,3:0.5").sample(10.0)
    assert times[-1] == 3 and len(times) == 31
    assert values[[0, 10, 20, 30]] == pytest.approx([0, 1, 0.5, 0.5]) and values.max() <= 1 and values.min() >= 0
    assert (np.diff(values[:11]) > 0).all() and np.ptp(values[20:]) == 0
    assert Curve.parse("0.5:1").sample(4.0)[1].tolist() == [1, 1, 1]
    late = Curve.parse("1:0.2,2:1").sample(1.0)
    assert late[1].tolist() == pytest.approx([0.2, 0.2, 1])


@pytest.mark.parametrize(
    "text", ["", "1", "a:b", "0:0,0:1", "1:0,0:1", "0:2", "0:-1", "-1:0", "0:nan", "nan:0", "0:0:0", "9e9:1"]
)
def test_what_is_no_curve_is_one_line(text):
    with pytest.raises(ParamsError) as error:
        Curve.parse(text)
    assert "\n" not in str(error.value)
