"""Data that are not there are told once, before the first run of a table or a sweep."""

import pytest
from hydra.errors import CompactHydraException
from made_runs import BUDGET, make_run
from made_up import record_of
from omegaconf import OmegaConf
from test_multirun import said

from hydra_plugins.indrnn_plan import PlanSweeper
from indrnn import configs, digests, missing_data, record
from indrnn.errors import UserError
from indrnn.tables import plan


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """No data set is here; what was asked for in other tests is asked for again."""
    monkeypatch.setenv("INDRNN_DATA", str(tmp_path / "nowhere"))
    missing_data._asked.cache_clear()
    yield
    missing_data._asked.cache_clear()


def data(*words):
    return configs.signed(configs.build(words))["data"]


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["experiment=fast/smnist"], "nowhere/mnist/train-images-idx3-ubyte.gz is missing: run `make data`, or set"),
        (["experiment=ptb_char"], "nowhere/ptb/ptb.train.txt is missing: run `make data`"),
        (["experiment=fast/ntu_cs"], "ask the ROSE Lab"),
        (["experiment=ptb_char", "data.source=no/such/folder"], "train.txt is missing: data.source is ptb, kjv, or"),
        (["experiment=quick/smnist"], ""),
        (["experiment=quick/adding"], ""),
        (["experiment=quick/ntu_cs"], ""),  # made on the spot
        (["experiment=fast/smnist", "data.counts=[1,1]"], ""),  # the run itself says what is wrong
    ],
)
def test_what_is_missing_is_the_modules_own_sentence(words, sentence):
    found = missing_data.of(data(*words))
    assert sentence in found and bool(sentence) == bool(found) and "\n" not in found


def test_a_class_from_elsewhere_is_not_asked(monkeypatch):
    monkeypatch.setattr(digests, "of", None)
    assert missing_data.of({"_target_": "elsewhere.Data"}) == ""


def test_a_config_that_cannot_be_resolved_is_left_to_its_run():
    cfg = OmegaConf.create({"data": {"_target_": "indrnn.data.mnist.PixelMNIST", "source": "${nope}"}})
    assert missing_data.of_job(cfg) == "" == missing_data.of_job(OmegaConf.create({"data": None}))


class Launcher:
    """Makes the records of what it is given."""

    def __init__(self, folder, runs):
        self.folder, self.runs, self.jobs = folder, {run.overrides: run for run in runs}, []

    def launch(self, jobs, initial_job_idx):
        self.jobs += jobs
        for job in jobs:
            (run,) = [run for overrides, run in self.runs.items() if set(overrides) <= set(job)]
            record.write(self.folder / run.signature, record_of(run), [])
        return [None] * len(jobs)


def test_a_table_leaves_out_what_lacks_data_with_a_record_that_says_so_and_makes_the_rest(
    tmp_path, capsys, monkeypatch
):
    extra = [f"machine.runs={tmp_path}"]
    tables = ["figure2_adding", "table1_mnist"]
    monkeypatch.setattr("indrnn.tables.plan.plan", few(plan.plan))
    runs = plan.runs(tables, "fast", seeds=[0], extra=extra)
    launcher = Launcher(tmp_path, runs)
    sweeper = PlanSweeper(tables, "fast", None, [0], False)
    sweeper.folder, sweeper.launcher, sweeper.here = str(tmp_path), launcher, True
    monkeypatch.setattr(sweeper, "_complain", lambda tried, returns: None)
    for _ in range(2):
        with pytest.raises(CompactHydraException, match="^Not all data are here, as told above"):
            sweeper.sweep(extra)
    asked = [word for job in launcher.jobs for word in job if word.startswith("experiment=")]
    assert asked == ["experiment=fast/adding"] * 2
    told = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert told[0].startswith("3 of 5 runs are left out: ") and told[1].startswith("3 of 3 runs are left out: ")
    assert len(told) == 2 and "train-images-idx3-ubyte.gz is missing: run `make data`" in told[0]
    lacking = [run for run in runs if run.table == "table1_mnist"]
    entries = [record.read(tmp_path / run.signature) for run in lacking]
    assert [(entry["status"], entry["updates"], entry["seed"]) for entry in entries] == [("no_data", 0, 0)] * 3
    assert [entry["overrides"] for entry in entries] == [record.told(run.overrides) for run in lacking]
    assert {entry["parameters"] > 0 for entry in entries} == {True}


def few(made):
    """The plan of five cells."""

    def plan_of(table, *words, **named):
        kept = {"figure2_adding": ("T100", ("lstm", "indrnn")), "table1_mnist": ("smnist", ("lstm", "indrnn_6"))}
        column, rows = kept[table.name]
        cells = [cell for cell in made(table, *words, **named) if cell.column == column and cell.row in rows]
        return [plan.Cell(cell.row, cell.column, cell.runs[:2], cell.reason) for cell in cells]

    return plan_of


def test_a_run_with_another_mistake_says_it_itself(tmp_path):
    runs = plan.runs(["table2_ptb_char"], "fast", seeds=[0], extra=["trainer.precision=32", f"machine.runs={tmp_path}"])
    here, told = missing_data.sorted_out(runs[:1], tmp_path)
    assert here == runs[:1] and told == [] and not list(tmp_path.glob("*/run.json"))


def test_a_sweep_is_refused_in_one_sentence_before_its_first_run(tmp_path):
    words = ("experiment=quick/adding,fast/smnist", "model=indrnn,lstm", "seed=0,1", "logger=csv")
    text = said(tmp_path, "-m", *words, f"machine.runs={tmp_path}/runs")
    assert text.startswith("Nothing was started: ") and "\n" not in text and "run `make data`" in text
    assert not list(tmp_path.rglob("run.json"))


def test_a_sweep_of_what_is_done_needs_no_data(tmp_path):
    words = ["experiment=fast/smnist", "model=lstm"]
    cfg = configs.build([*words, *BUDGET, f"machine.runs={tmp_path}"])
    with pytest.raises(UserError, match="^Nothing was started: "):
        missing_data.refuse([cfg])
    make_run(tmp_path, *words)
    missing_data.refuse([cfg])


@pytest.mark.parametrize("launcher, here", [("basic", True), ("joblib", True), ("submitit_slurm", False)])
def test_other_machines_have_other_disks(launcher, here):
    target = {"basic": "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
              "joblib": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
              "submitit_slurm": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"}  # fmt: skip
    cfg = OmegaConf.create({"hydra": {"launcher": {"_target_": target[launcher]}}})
    assert missing_data.launched_here(cfg) is here


@pytest.mark.parametrize("values", [{"seq_len": 1}, {"seq_len": "long"}, {"val_examples": None}], ids=str)
def test_values_that_make_no_sense_are_for_the_run_to_say(values):
    data = {"_target_": "indrnn.data.adding.Adding", "seq_len": 10, "val_examples": 5, "test_examples": 5}
    assert missing_data.of(data) == missing_data.of(data | values) == ""
