"""The networks that the figures look at, at each profile, and how they come to be trained.

At quick they are trained here, in minutes, and have the weights of the last update. At fast and paper they are the
networks of finished runs in the runs folder, with the weights that validation chose.
"""

import copy
from dataclasses import dataclass

from omegaconf import DictConfig

from indrnn import aloud, configs, record
from indrnn.configs import PROFILES
from indrnn.data import Data
from indrnn.errors import UserError
from indrnn.networks import Network
from indrnn.training import run
from indrnn.training.sitting import folder_of
from indrnn.training.tensors import load_tensors

SEEDS = (0, 1, 2)
HERE = "quick"  # the profile that trains here

# P18 Figures 3 and 4. At quick, the experiment's 500 updates and more of them: the paper's network has converged.
ADDING = {
    "quick": ("experiment=quick/adding", "model=indrnn", "data.seq_len=200"),
    "fast": ("experiment=fast/adding", "model=indrnn", "data.seq_len=5000", "recipe.learning_rate=2e-4"),
    "paper": ("experiment=adding", "model=indrnn", "data.seq_len=5000"),
}
BUDGETS = {"quick": (500, 1000, 2000), "fast": (6000,), "paper": (60000,)}

# P19 Figure 5: u of six layers, cross-subject.
SIX_LAYERS = {
    "quick": ("experiment=quick/ntu_cs", "model=indrnn", "model.num_layers=6"),
    "fast": ("experiment=fast/ntu_cs", "model=indrnn", "model.num_layers=6"),
    "paper": ("experiment=ntu_cs", "model=indrnn", "model.num_layers=6"),
}

# Gradients over time: at quick half as wide and 200 updates instead of 500.
GRADIENTS = {
    "quick": ("experiment=quick/pmnist", "model.num_layers=6", "recipe.hidden_size=64", "trainer.max_updates=200"),
    "fast": ("experiment=fast/pmnist", "model.num_layers=6"),
    "paper": ("experiment=pmnist", "model.num_layers=6"),
}
MODELS = {"IndRNN": "model=indrnn", "LSTM": "model=lstm", "IRNN": "model=irnn"}


@dataclass(frozen=True)
class Trained:
    """A network before its first update (``start``) and after the last one, without dropout."""

    cfg: DictConfig
    signature: str
    data: Data
    start: Network
    network: Network
    updates: int

    @property
    def of_data(self) -> str:
        """Which data these are, and what they stand in for if they do."""
        described = self.data.describe()
        return described["stand_in"] or described["name"]


def adding(profile: str, budget: int, seed: int) -> list[str]:
    return [*ADDING[profile], f"trainer.max_updates={budget}", f"seed={seed}"]


def six_layers(profile: str) -> list[str]:
    return [*SIX_LAYERS[profile], f"seed={SEEDS[0]}"]


def for_gradients(profile: str, model: str, seed: int) -> list[str]:
    return [*GRADIENTS[profile], MODELS[model], f"seed={seed}"]


def wanted(profile: str) -> list[list[str]]:
    """The overrides of all networks of a profile.

    Raises:
        UserError: there is no such profile.
    """
    if profile not in PROFILES:
        raise UserError(f"There is no profile {profile!r}; there are: {', '.join(PROFILES)}.")
    found = [adding(profile, budget, seed) for budget in BUDGETS[profile] for seed in SEEDS]
    found.append(six_layers(profile))
    return found + [for_gradients(profile, model, seed) for model in MODELS for seed in SEEDS]


def check(profile: str) -> None:
    """Refuse before hours of work, not after.

    Raises:
        UserError: the profile trains elsewhere, and some of its networks are not trained yet.
    """
    runs = [(overrides, configs.build(overrides)) for overrides in wanted(profile)]
    missing = [overrides for overrides, cfg in runs if profile != HERE and finished(cfg) is None]
    if missing:
        sweeps: dict[str, list[str]] = {}
        for *words, seed in missing:
            sweeps.setdefault(" ".join(words), []).append(seed.removeprefix("seed="))
        commands = [f".venv/bin/python -m indrnn.train -m {words} seed={','.join(s)}" for words, s in sweeps.items()]
        raise UserError(
            f"Profile {profile} reads the weights of finished runs, of which {len(missing)} of {len(runs)} are not on "
            f"this machine: {'; '.join(commands)}"
        )


def finished(cfg: DictConfig) -> dict | None:
    """The record of a run whose weights are there, or None."""
    folder = folder_of(cfg)
    done = record.read(folder)
    return done if done and done["status"] == "finished" and (folder / "weights.pt").exists() else None


def trained(profile: str, overrides: list[str]) -> Trained:
    """Train a network here, or read it; the profile says which."""
    cfg = configs.build(overrides)
    data, task = run.build(cfg)
    data.setup()
    network = task.network
    start = copy.deepcopy(network).eval()
    if profile == HERE:
        made = cfg.trainer.max_updates
        for number in aloud.counted(range(made), f"training {' '.join(overrides)}: {made} updates"):
            task.make_update(data.train_batch(number))
    else:
        network.load_state_dict(load_tensors(folder_of(cfg) / "weights.pt"))
        made = finished(cfg)["updates"]
    return Trained(cfg, folder_of(cfg).name, data, start, network.eval(), made)
