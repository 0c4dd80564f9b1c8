"""A trained network from the folder of its run, published or of this machine."""

import hashlib
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import OmegaConf

from indrnn import configs, record
from indrnn.errors import UserError
from indrnn.networks import Network
from indrnn.training.tensors import load_tensors


def load_network(folder: Path | str) -> Network:
    """The network of a finished run with the weights that validation chose, in eval mode, on the CPU.

    Args:
        folder: holds run.json and weights.pt, such as ``results/runs/827a92e8814a``.

    Raises:
        UserError: there is no record or no network, or it differs from SHA256SUMS beside it.
    """
    folder = Path(folder)
    entry, path = record.read(folder), folder / "weights.pt"
    if not entry or not path.exists():
        raise UserError(f"{folder} holds no trained network (run.json and weights.pt of a finished run).")
    if (folder / "SHA256SUMS").exists():
        expected = dict(line.split()[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())["weights.pt"]
        if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != expected:
            raise UserError(f"{path} is damaged: SHA256SUMS says {expected}, and it has {found}.")
    cfg = OmegaConf.create(configs.moved(entry["config"]))
    network = instantiate(cfg.task, network=instantiate(cfg.model)).network
    network.load_state_dict(load_tensors(path))
    return network.eval()
