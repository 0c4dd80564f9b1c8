"""The authors' training logs as data: conf/logs.yaml, each of one row and column of a table."""

from dataclasses import dataclass

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from indrnn import configs
from indrnn.errors import UserError, in_one_line


@dataclass
class Log:
    """Best validation so far by logged epochs of ``epoch`` updates: a share of the images, or bits per character."""

    table: str
    row: str
    column: str
    file: str
    batch_size: int
    epoch: int
    best: dict[int, float]

    @property
    def by_examples(self) -> dict[int, float]:
        """The best so far by training examples; accuracies in %."""
        scale = 100 if max(self.best.values()) <= 1 else 1
        examples = self.epoch * self.batch_size
        return {count * examples: round(scale * value, 6) for count, value in self.best.items()}

    @property
    def updates(self) -> int:
        return max(self.best) * self.epoch


def load() -> dict[str, Log]:
    """Read conf/logs.yaml; UserError where it is not what Log says."""
    path = configs.CONF / "logs.yaml"
    try:
        found = OmegaConf.load(path)
        return {
            str(name): OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Log), one))
            for name, one in found.items()
        }
    except (OmegaConfBaseException, ValueError, YAMLError) as error:
        raise UserError(f"{path}: {in_one_line(error)}.") from None
