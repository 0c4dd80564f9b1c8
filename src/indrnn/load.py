"""A trained network from the folder of its run, published or of this machine."""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import OmegaConf

from indrnn import checksums, configs, record
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
    if (folder / checksums.NAME).exists():
        expected, found = checksums.read(folder / checksums.NAME).get("weights.pt"), checksums.sha256(path)
        if found != expected:
            raise UserError(f"{path} is damaged: SHA256SUMS says {expected or 'nothing of it'}, and it has {found}.")
    cfg = OmegaConf.create(configs.moved(entry["config"]))
    network = instantiate(cfg.task, network=instantiate(cfg.model)).network
    try:
        network.load_state_dict(load_tensors(path))
    except Exception as error:  # a damaged file raises whatever the unpickler meets first
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")
        raise UserError(f"{path} is damaged, or of another network than its record's ({reason}).") from None
    return network.eval()
