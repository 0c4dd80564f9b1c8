"""LightningModules by kind of problem, with their schedules and metrics."""

from indrnn.tasks.task import CALIBRATION_EXAMPLES, Classification, Diverged, LastStep, Regression, Task

__all__ = ["CALIBRATION_EXAMPLES", "Classification", "Diverged", "LastStep", "Regression", "Task"]
