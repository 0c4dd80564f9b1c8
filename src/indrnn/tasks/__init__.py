"""LightningModules by kind of problem, with their schedules and metrics."""

from indrnn.tasks.last_step import Classification, LastStep, Regression
from indrnn.tasks.task import CALIBRATION_EXAMPLES, Task
from indrnn.tasks.updating import CLIP, Diverged

__all__ = ["CALIBRATION_EXAMPLES", "CLIP", "Classification", "Diverged", "LastStep", "Regression", "Task"]
