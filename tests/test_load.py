"""Published networks: whole, loaded without training, with the numbers of their records."""

import hashlib
import os
import shutil

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from indrnn import files, publish, record
from indrnn.data import TEST
from indrnn.errors import UserError
from indrnn.load import load_network
from indrnn.tables import plan
from indrnn.training.tensors import load_tensors

RUNS = files.ROOT / "results" / "runs"
PUBLISHED = sorted(path.parent for path in RUNS.glob("*/weights.pt"))


def test_the_networks_that_tables_ask_for_are_published_with_their_checksums():
    assert {folder.name for folder in PUBLISHED} == plan.with_weights("fast") and len(PUBLISHED) == 2
    for folder in PUBLISHED:
        sums = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
        assert [name for _, name in sums] == ["curve.csv", "run.json", "weights.pt"]
        assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == sum_ for sum_, name in sums)
        assert (folder / "weights.pt").stat().st_size < 500_000


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_a_published_network_keeps_its_bound_and_the_number_of_its_record(folder, monkeypatch, request):
    entry, network = record.read(folder), load_network(folder)
    config = entry["config"]
    assert all(layer.u.abs().max() <= layer.bound + 1e-6 for layer in network.layers)
    assert sum(p.numel() for p in network.parameters()) == entry["parameters"]
    if "mnist" in config["data"]["_target_"]:
        monkeypatch.setenv("INDRNN_DATA", str(request.getfixturevalue("real_data")))
    data = instantiate(OmegaConf.create(config).data)
    data.setup()
    digits = "mnist" in config["data"]["_target_"]
    x, y = data.examples(TEST, 500 if digits else None)
    with torch.no_grad():
        h, _ = network.features(x.transpose(0, 1).contiguous())
        answer = network.head(h[-1])
    if digits:
        wrong = (answer.argmax(1) != y).sum().item()
        assert wrong <= 12  # of 500; all 10,000 have 0.93%, and their first half is twice as hard as the second
    else:
        mse = (answer - y).square().mean().item()
        assert mse == pytest.approx(entry["metrics"]["test/mse"], rel=1e-3)  # that was measured on a GPU


def test_a_damaged_or_missing_network_is_told(tmp_path):
    with pytest.raises(UserError, match="holds no trained network"):
        load_network(tmp_path)
    shutil.copytree(PUBLISHED[0], tmp_path / "run")
    content = bytearray((tmp_path / "run" / "weights.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "run" / "weights.pt").write_bytes(content)
    with pytest.raises(UserError, match="is damaged: SHA256SUMS says"):
        load_network(tmp_path / "run")


def test_a_network_is_published_with_its_own_record_or_not_at_all(tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    for name in ("curve.csv", "run.json", "weights.pt"):
        (run / name).write_text(f"{name} of the first")
    publish.copy_run(run, out, weights=False)
    assert sorted(path.name for path in out.iterdir()) == ["curve.csv", "run.json"]
    publish.copy_run(run, out, weights=True)
    sums = (out / "SHA256SUMS").read_text()
    assert len(sums.splitlines()) == 3 and (out / "weights.pt").read_text() == "weights.pt of the first"
    (run / "run.json").write_text("the second")
    (run / "weights.pt").write_text("of the second")
    publish.copy_run(run, out, weights=False)  # published before, so its network comes along
    assert (out / "weights.pt").read_text() == "of the second" and (out / "SHA256SUMS").read_text() != sums
    (run / "run.json").write_text("the third, whose network is elsewhere")
    (run / "weights.pt").unlink()
    publish.copy_run(run, out, weights=True)
    assert sorted(path.name for path in out.iterdir()) == ["curve.csv", "run.json"]


def test_a_network_is_read_with_its_checksum_or_told(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(PUBLISHED[0], run)
    sums = (run / "SHA256SUMS").read_text()
    (run / "SHA256SUMS").write_text("".join(line for line in sums.splitlines(True) if "weights" not in line))
    with pytest.raises(UserError, match="weights.pt is damaged: SHA256SUMS says nothing of it"):
        load_network(run)
    (run / "SHA256SUMS").write_text(sums[:-20])
    with pytest.raises(UserError, match="holds no trained network"):  # and a warning that names the list
        load_network(run)
    (run / "SHA256SUMS").unlink()
    (run / "weights.pt").write_bytes((run / "weights.pt").read_bytes()[:5000])
    with pytest.raises(UserError, match="weights.pt is damaged, or of another network"):
        load_network(run)
    (run / "weights.pt").unlink()
    os.mkfifo(run / "weights.pt")
    with pytest.raises(UserError, match="weights.pt is no regular file"):
        load_network(run)


def test_a_checkpoint_that_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "last.ckpt")
    with pytest.raises(UserError, match="last.ckpt is no regular file"):
        load_tensors(tmp_path / "last.ckpt")
