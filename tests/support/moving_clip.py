"""A sample sequence before cameras that move, turn their lens, or see without perspective."""

from functools import cached_property

import numpy as np

from emoca_core.interfaces import PhotoCamera
from emoca_core.testing.sample_sequence import SampleSequence, sample_sequence

FLIP = np.diag([1.0, -1.0, -1.0])


class Moving(SampleSequence):
    """The camera moves from frame to frame; with ``zooming``, the lens does too."""

    model, zooming = "perspective", False

    @cached_property
    def cameras(self):
        count = np.linspace(-1, 1, len(self))
        return [self._camera(value) for value in count.tolist()]

    def _camera(self, value):
        focal = 90 * (1 + 0.3 * value * self.zooming) * (1 if self.model == "perspective" else 2)
        lens = np.array([[focal, 0, 31.5], [0, focal, 31.5], [0, 0, 1]])
        shift = np.array([0.02 * value, -0.01, 0.5 + 0.1 * value])
        return PhotoCamera(self.model, lens, FLIP, shift, (64, 64))


class Zooming(Moving):
    zooming = True


class Orthographic(Zooming):
    model = "orthographic"


def moving(cls):
    sample = sample_sequence()
    return cls(**{name: getattr(sample, name) for name in sample.__dataclass_fields__})
