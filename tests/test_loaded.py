"""indrnn.load: a run's network answers in the units of its data, tells its memory, and leaves as a program."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from test_csv import LABELS, TINY, table
from test_load import PUBLISHED
from test_sitting import LANGUAGE

import indrnn
from indrnn import files, predictions, record
from indrnn.errors import UserError
from indrnn.load import load_network
from indrnn.training.run import train
from indrnn.training.sitting import folder_of

MANY = ("model.hidden_size=6", "trainer.max_updates=60", "trainer.val_every=20", "data.batch_size=8")


@pytest.fixture
def trained(config, tmp_path):
    """trained("model=lstm", ...) -> the folder of a run on table.csv, and its rows by sequence."""

    def make(*words: str):
        path = table(tmp_path / "table.csv")
        cfg = config("experiment=csv", f"data.path={path}", "data.split=part", "data.inputs=[x,z]", *words)
        train(cfg)
        rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
        return folder_of(cfg), {f"s{n}": [row for row in rows if row[0] == f"s{n}"] for n in range(10)}

    return make


def inputs(rows: list[list[str]]) -> torch.Tensor:
    return torch.tensor([[[float(field) for field in row[1:3]] for row in rows]])


@pytest.mark.parametrize("model", ["indrnn", "lstm"])
def test_it_predicts_in_the_units_of_the_file_what_the_test_was_answered(trained, model):
    folder, rows = trained(f"model={model}", *MANY)
    run = indrnn.load(folder)
    told = predictions.read(folder)
    scale = run.record["data"]["target_std"], run.record["data"]["target_mean"]
    for number, name in enumerate(["s8", "s9"]):
        (answer,) = run.predict(inputs(rows[name]))
        assert answer.item() == pytest.approx(told["answer"][number] * scale[0] + scale[1], rel=1e-5)
        assert answer.item() == pytest.approx(float(rows[name][-1][3]), rel=0.2)
    longest, shorter = inputs(rows["s9"]), inputs(rows["s8"])
    padded = torch.cat([longest, torch.cat([shorter, torch.full((1, 1, 2), torch.nan)], 1)])
    both = run.predict(padded, torch.tensor([12, 11]))
    alone = torch.cat([run.predict(longest), run.predict(shorter)])
    assert torch.allclose(both, alone, rtol=1e-5)


def test_scores_of_labels_choose_what_the_test_was_answered(trained):
    folder, rows = trained(*LABELS, *TINY)
    run = indrnn.load(folder)
    said = [run.predict(inputs(rows[name])).argmax(1).item() for name in ("s8", "s9")]
    assert said == predictions.read(folder)["answer"].tolist()
    assert run.config.data.labels == ["up", "down"]


def test_memory_is_of_the_weights_in_steps(trained):
    run = indrnn.load(trained(*TINY)[0])
    assert list(run.u) == ["layers.0", "layers.1"] and run.u["layers.1"].shape == (4,)
    steps = run.memory(0.5)["layers.0"]
    u = run.u["layers.0"].double().abs()
    inside = (u > 0) & (u < 1)
    assert inside.any() and torch.allclose(u[inside] ** steps[inside], torch.tensor(0.5, dtype=torch.float64))
    assert indrnn.load(trained("model=gru", *TINY)[0]).memory() == {}


@pytest.mark.parametrize("model", ["indrnn", "res_indrnn", "dense_indrnn", "lstm"])
def test_it_leaves_as_a_program_of_any_batch_and_length(trained, tmp_path, model):
    words = [word for word in TINY if "hidden" not in word or model != "dense_indrnn"]
    dense = ["model.growth=2", "model.blocks=[1,1]"] if model == "dense_indrnn" else []
    folder, rows = trained(f"model={model}", *words, *dense)
    run = indrnn.load(folder)
    steps = 12 if model == "lstm" else 5  # of torch's own networks T is fixed
    program, path = run.export(torch.rand(2, steps, 2)), tmp_path / "network.pt2"
    torch.export.save(program, path)
    x = torch.cat([inputs(rows["s9"])] * 3) + torch.arange(3)[:, None, None]
    np.savez(tmp_path / "x.npz", x=x.numpy(), y=run.predict(x).numpy())
    code = f"""
import numpy as np, torch
import indrnn.recurrence
given = np.load({str(tmp_path / "x.npz")!r})
y = torch.export.load({str(path)!r}).module()(torch.from_numpy(given["x"]))
assert torch.allclose(y, torch.from_numpy(given["y"]), rtol=1e-5), y
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)


def test_a_text_has_scores_of_every_step(config):
    cfg = config(*LANGUAGE)
    train(cfg)
    run = indrnn.load(folder_of(cfg))
    scores = run.predict(torch.zeros(2, 3, dtype=torch.long))
    assert scores.shape == (2, 3, cfg.data.output_size)
    with torch.no_grad():
        assert torch.equal(scores.transpose(0, 1), run.network(torch.zeros(3, 2, dtype=torch.long))[0])


def test_it_is_the_same_by_every_name_and_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = PUBLISHED[0].relative_to(files.ROOT)  # of the repository, from elsewhere
    run, network = indrnn.load(folder), load_network(str(folder))
    assert run.record == record.read(PUBLISHED[0]) and run.config.seed == run.record["seed"]
    pairs = zip(run.network.state_dict().values(), network.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs) and not run.network.training
    with pytest.raises(UserError, match="holds no trained network"):
        indrnn.load(tmp_path)


def test_it_can_be_called_before_and_after_its_module_is_imported():
    code = "import indrnn\nassert callable(indrnn.load)\nimport indrnn.load\nfrom indrnn import load\n"
    code += "from indrnn.load import load_network\nassert callable(indrnn.load) and load is indrnn.load"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
