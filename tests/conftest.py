"""Shared by the tests: a config composed as Hydra composes it, and runs in a temporary folder."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from indrnn import files

torch.set_num_threads(1)  # make test has a process for each core


@pytest.fixture(autouse=True)
def as_a_fresh_process():
    """Random numbers start alike, and what a run sets for its whole process does not reach the next test."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
    torch.set_float32_matmul_precision("highest")


@pytest.fixture
def config(tmp_path):
    """config("experiment=...", ...) -> DictConfig of a run whose folder is temporary and whose logger is csv."""

    def build(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(files.ROOT / "conf"), version_base="1.3"):
            return compose(
                "config",
                [f"machine.runs={tmp_path / 'runs'}", "machine.progress=false", "logger=csv", *overrides],
            )

    return build


@pytest.fixture
def real_data() -> Path:
    """The folder of the complete data sets; the test skips where there is none."""
    return folder_with("mnist")


@pytest.fixture
def real_ptb() -> Path:
    """The same, with the complete Penn Treebank in it."""
    return folder_with("ptb")


def folder_with(name: str) -> Path:
    for folder in (files.data_folder(), files.ROOT.parent / "shared" / "data"):
        if (folder / name).is_dir():
            return folder
    pytest.skip(f"no complete {name}: set INDRNN_DATA or run `make data`")
