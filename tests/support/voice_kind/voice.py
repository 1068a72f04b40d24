"""The interface of the new kind, two components, and what the conformance kit checks of them."""

from abc import abstractmethod

from pydantic import Field
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.interfaces import Component, FaceParameters, Parts
from emoca_core.interfaces.samples import SIZES, sample_parameters
from emoca_core.testing.common import Subject


class Voice(Component):
    """Says how a face sounds."""

    @abstractmethod
    def sound(self, parameters: FaceParameters) -> Tensor:
        """Frequency of every face, hertz."""


class Hum(Voice):
    """Higher for larger expressions. Source: this test."""

    class Params(ComponentParams):
        pitch: float = Field(default=100.0, gt=0)
        """Of the neutral face, hertz."""

    params: Params
    parts: Parts | None = None

    def attach(self, parts: Parts) -> None:
        """The method's parts, as encoders get them."""
        self.parts = parts

    def sound(self, parameters: FaceParameters) -> Tensor:
        return self.params.pitch + parameters.select(["expression"]).square().sum(1)


class Flat(Hum):
    """Too low to be heard. Source: this test."""

    def sound(self, parameters: FaceParameters) -> Tensor:
        return -super().sound(parameters)


def check(subject: Subject) -> None:
    """Audible."""
    heard = subject.component.sound(sample_parameters(SIZES))
    subject.require((heard > 0).all(), "must be audible")
