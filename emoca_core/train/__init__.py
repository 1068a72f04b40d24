"""Training on Accelerate: one loop for every task of the project."""

from emoca_core.train.loop import train
from emoca_core.train.task import Step, Task
from emoca_core.train.train_settings import TrainSettings

__all__ = ["Step", "Task", "TrainSettings", "train"]
