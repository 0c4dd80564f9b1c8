import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException
from made_up import record_of

from hydra_plugins.indrnn_plan import PlanSweeper, Watch
from indrnn import configs, files, record
from indrnn.errors import UserError
from indrnn.tables import plan, schema


@pytest.mark.parametrize("name", schema.table_names())
@pytest.mark.parametrize("profile", schema.PROFILES)
def test_every_cell_has_runs_or_a_reason(name, profile):
    table = schema.load_table(name)
    cells = plan.plan(table, profile)
    assert len(cells) == len(table.rows) * len(table.columns)
    assert all(bool(cell.runs) != bool(cell.reason) for cell in cells)
    measured = [(run.signature, run.metric) for cell in cells for run in cell.runs]
    assert len(set(measured)) == len(measured)


def test_a_planned_run_is_the_run_of_its_command(config):
    """Also for other seeds, which share one composition."""
    cells = plan.plan(schema.load_table("table1_mnist"), "quick", columns=["pmnist"], seeds=[0, 7])
    run = next(cell for cell in cells if cell.row == "indrnn_6").runs[1]
    cfg = config(*run.labels, *run.overrides)
    assert cfg.seed == 7
    assert configs.signature(configs.signed(cfg)) == run.signature
    assert (cfg.logger.group, cfg.logger.name) == ("table1_mnist", "IndRNN (6 layers), pMNIST, seed 7")
    assert (cfg.logger.row, cfg.logger.column) == ("IndRNN (6 layers)", "pmnist")


@pytest.mark.parametrize("text", ["T = 100, a=b (6)", "it's", 'say "12"', "back\\slash", "{y}: [z]", "\\'", "end\\"])
def test_labels_survive_hydras_grammar(text):
    override = OverridesParser.create().parse_override(f"logger.name={plan.quoted(text)}")
    assert override.value() == text


def test_reasons():
    reasons = {(c.row, c.column): c.reason for c in plan.plan(schema.load_table("table1_mnist"), "quick")}
    assert reasons["urnn", "smnist"] == "cited"
    assert reasons["dense_indrnn", "smnist"] == "fast and paper profiles only"
    figure = schema.load_table("figure2_adding")
    reasons = {(c.row, c.column): c.reason for c in plan.plan(figure, "paper")}
    assert reasons["lstm", "T5000"] == "not run in the paper"
    assert reasons["lstm", "T200"] == "quick profile only"
    table = schema.load_table("table1_mnist")
    table.rows["dense_indrnn"].overrides = None
    reasons = {(c.row, c.column): c.reason for c in plan.plan(table, "paper")}
    assert reasons["dense_indrnn", "pmnist"] == "not built yet"


def test_learning_rates_of_figure_2_are_those_of_the_text():
    cells = {(c.row, c.column): c for c in plan.plan(schema.load_table("figure2_adding"), "paper", seeds=[0])}
    rates = {key: c.runs[0].config["recipe"]["learning_rate"] for key, c in cells.items() if c.runs}
    assert {rates[row, "T500"] for row in ("rnn_tanh", "lstm")} == {2e-3}
    assert rates["indrnn", "T5000"] == rates["irnn", "T100"] == 2e-4
    assert rates["irnn", "T500"] == rates["irnn", "T1000"] == 1e-5


def test_columns_seeds_extra_and_smoke():
    table = schema.load_table("figure2_adding")
    cells = plan.plan(table, "quick", columns=["T100"], seeds=[5], extra=["trainer.max_updates=2"])
    assert {(run.column, run.seed) for cell in cells for run in cell.runs} == {("T = 100", 5)}
    assert all(run.config["trainer"]["max_updates"] == 2 for cell in cells for run in cell.runs)
    mnist = schema.load_table("table1_mnist")
    quick = {c.row for c in plan.plan(mnist, "quick", seeds=[0]) if c.runs}
    every = {c.row for c in plan.plan(mnist, "quick", seeds=[0], smoke=True) if c.runs}
    assert every == {key for key, row in mnist.rows.items() if row.overrides is not None} >= quick
    every = {(c.row, c.column) for c in plan.plan(table, "quick", seeds=[0], smoke=True) if c.runs}
    assert len(every) == 4 * 4 + 1 and ("indrnn", "T5000") in every


def test_a_smoke_test_trains_the_extremes_of_the_large_tables():
    depth, rates = (schema.load_table(name) for name in ("depth_pmnist", "sensitivity_adding"))
    cells = plan.plan(depth, "quick", seeds=[0], smoke=True)
    assert {(c.row, c.column) for c in cells if c.runs} == {(row, "L21") for row in depth.rows}
    cells = plan.plan(rates, "quick", seeds=[0], smoke=True)
    assert {c.runs[0].config["recipe"]["learning_rate"] for c in cells} == {3e-5, 1e-2}
    assert {c.column for c in plan.plan(depth, "quick", ["L2"], seeds=[0], smoke=True)} == {"L2"}


def test_tables_of_their_own_are_planned_only_by_name():
    tables = ["figure2_adding", "table1_mnist", "table2_ptb_char", "table3_ptb_word", "table4_ntu"]
    assert schema.default_tables() == tables
    assert {run.table for run in plan.runs(None, "quick")} == set(schema.default_tables())
    assert {run.table for run in plan.runs(["sensitivity_adding"], "quick", seeds=[0])} == {"sensitivity_adding"}
    assert not plan.runs(["depth_pmnist", "sensitivity_adding"], "paper")


def test_depth_counts_recurrent_layers_and_shares_the_runs_of_table_1():
    cells = {(c.row, c.column): c for c in plan.plan(schema.load_table("depth_pmnist"), "quick")}
    layers = {
        row: [c.runs[0].config["model"]["num_layers"] for (r, _), c in cells.items() if r == row and c.runs]
        for row in ("lstm", "res_indrnn", "indrnn")
    }
    assert layers["lstm"] == layers["indrnn"] == [1, 2, 4, 8, 12, 21]
    assert layers["res_indrnn"] == [3, 5, 9, 13, 21]
    assert cells["res_indrnn", "L1"].reason == "the plain network"
    assert all(sum("num_layers" in text for text in c.runs[0].overrides) == 1 for c in cells.values() if c.runs)
    table1 = {(c.row, c.column): c for c in plan.plan(schema.load_table("table1_mnist"), "quick")}
    mine, theirs = ([run.signature for run in cell.runs] for cell in (cells["lstm", "L1"], table1["lstm", "pmnist"]))
    assert mine == theirs
    every = {run.signature for cell in cells.values() for run in cell.runs}
    assert every & {run.signature for cell in table1.values() for run in cell.runs} == set(mine)


def test_rates_and_budget_of_the_sensitivity_table():
    table = schema.load_table("sensitivity_adding")
    for cell in plan.plan(table, "quick", seeds=[0]):
        config = cell.runs[0].config
        assert config["trainer"]["max_updates"] == 2000 and config["data"]["seq_len"] == 100
        assert table.columns[cell.column].label == f"rate {config['recipe']['learning_rate']:.0e}".replace("e-0", "e-")
        clip = (1, "norm") if cell.row == "irnn_clipped" else (10, "value")
        assert (config["trainer"]["clip"], config["trainer"]["clip_by"]) == clip
    assert "trainer.max_updates=2000" not in plan.cell_overrides(table, "paper", "irnn", "R1e3")[0]


def test_candidates_are_runs_of_their_own():
    table = schema.load_table("table1_mnist")
    cells = {(c.row, c.column): c for c in plan.plan(table, "paper", seeds=[0, 1])}
    assert len(cells["lstm", "smnist"].runs) == 2 * len(table.rows["lstm"].candidates)
    assert len(cells["indrnn_6", "smnist"].runs) == 2


def test_a_cell_asks_for_the_first_seed_of_each_candidate_and_then_for_the_best_ones_others(tmp_path):
    def asked() -> set[tuple[int, int]]:
        planned = plan.runs(["table1_mnist"], "fast", ["smnist"], folder=tmp_path)
        return {(run.candidate, run.seed) for run in planned if run.row == "LSTM"}

    def made(candidate: int, **change) -> None:
        every = plan.runs(["table1_mnist"], "fast", ["smnist"])
        run = next(r for r in every if (r.row, r.candidate, r.seed) == ("LSTM", candidate, 0))
        record.write(tmp_path / run.signature, record_of(run, **change), [])

    scouts = {(0, 0), (1, 0), (2, 0)}
    assert asked() == scouts
    made(0, value=1.0, validated=3.0)
    made(1, value=9.0, validated=2.0)
    assert asked() == scouts
    made(2, status="diverged")
    assert asked() == scouts | {(1, 1), (1, 2)}
    made(2, value=9.0, validated=1.0)
    assert asked() == scouts | {(2, 1), (2, 2)}
    assert len([run for run in plan.runs(["table1_mnist"], "fast", ["smnist"]) if run.row == "LSTM"]) == 9


def test_a_sweep_goes_on_with_what_validation_chose(tmp_path, monkeypatch, capsys):
    """Each launch makes what is asked for by then; a run that fails is not tried twice."""
    sweeper = PlanSweeper(["table1_mnist"], "fast", ["smnist"], None, False)
    sweeper.folder, launched, complained = str(tmp_path), [], []
    every = {run.signature: run for run in plan.runs(["table1_mnist"], "fast", ["smnist"])}

    def launch(jobs):
        words = [set(job) for job in jobs]
        found = [run for run in every.values() if any(set(run.overrides) <= job for job in words)]
        launched.append(len(found))
        for run in found:
            if run.row != "IRNN":  # fails
                made = record_of(run, validated=1.0 + run.candidate)
                record.write(tmp_path / run.signature, made, [])
        return [None] * len(jobs)

    monkeypatch.setattr(sweeper, "_launch", launch)
    monkeypatch.setattr(sweeper, "_complain", lambda tried, returns: complained.append((len(tried), len(returns))))
    sweeper.sweep([])
    assert launched == [3 * 3 + 4 * 3, 2 * 2] and complained == [(25, 25)]
    assert "4 more to do, with what validation chose" in capsys.readouterr().out


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda: schema.load_table("table9"),
            "no table 'table9'; there are: ablation_adding, ablation_pmnist",
        ),
        (lambda: plan.runs(None, "quik"), "no profile 'quik'; there are: quick, fast, paper"),
        (lambda: plan.runs(["figure2_adding"], "quick", columns=["T7"]), "no column 'T7'; it has: T100"),
        (lambda: plan.runs(["figure2_adding"], "quick", extra=["trainer.max_update=2"]), "max_update"),
        (lambda: plan.runs(["figure2_adding"], "quick", extra=["trainer.clip=1,2"]), "not a sweep: trainer.clip=1,2"),
    ],
)
def test_a_mistake_is_one_sentence(call, words):
    with pytest.raises(UserError) as error:
        call()
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, old, new, words",
    [
        ("table1_mnist", "title:", "titel:", "titel"),
        ("table1_mnist", "tolerance: 0.3", "tolerance: null", "no tolerance to judge it by"),
        ("table1_mnist", "lower_than: [irnn", "lower_than: [irrn", "names 'irrn'"),
        ("table1_mnist", "lower_than:", "below: 3\n    lower_than:", "exactly one of"),
        ("table1_mnist", "profiles: [fast, paper]", "profiles: [fast, papre]", "names 'papre'"),
        ("table1_mnist", "model=lstm", "model=lstn", r"no model 'lstn' \(did you mean lstm\?\); there are: "),
        ("table1_mnist", "experiment: smnist", "experiment: mnist", r"no experiment 'quick/mnist' \(.*\); there are"),
        ("depth_pmnist", "reasons: {L1:", "reasons: {L3:", "names 'L3'"),
        ("depth_pmnist", "smoke: [L21]", "smoke: [L22]", "names 'L22'"),
        ("depth_pmnist", "other_columns: [L2]", "other_columns: [L3]", "names 'L3'"),
        ("depth_pmnist", "higher_than: [lstm]", "below: 3", "other_columns but neither lower_than nor higher_than"),
        ("ablation_pmnist", "pairs_as: difference", "pairs_as: quotient", "'quotient' is neither difference nor ratio"),
        ("ablation_pmnist", "row: tanh, against: relu", "row: tanh, against: relo", "names 'relo'"),
        ("depth_pmnist", "figure: axis", "figure: axes", "figure 'axes' is neither"),
        ("depth_pmnist", "  config: model", "  confg: model", "confg"),
        ("figure2_adding", "figure: curves", "figure: axis", "no axis to draw over"),
        ("sensitivity_adding", "more_than: [irnn]", "more_than: [irn]", "names 'irn'"),
        ("sensitivity_adding", "    below: 0.01", "    above: 0.01", "more_than, which counts columns below a bound"),
        ("sensitivity_adding", "  quick: [trainer", "  quik: [trainer", "names 'quik'"),
    ],
)
def test_a_mistyped_table_is_refused(tmp_path, monkeypatch, name, old, new, words):
    text = (configs.CONF / "table" / f"{name}.yaml").read_text()
    assert old in text
    for path in configs.CONF.iterdir():
        if path.name != "table":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / f"{name}.yaml").write_text(text.replace(old, new))
    monkeypatch.setattr(configs, "CONF", tmp_path)
    with pytest.raises(UserError, match=words):
        plan.plan(schema.load_table(name), "quick")


def test_composing_leaves_a_running_hydra_alone():
    with initialize_config_dir(str(configs.CONF), version_base="1.3"):
        outer = GlobalHydra.instance().hydra
        plan.runs(["figure2_adding"], "quick", columns=["T100"], seeds=[0])
        assert GlobalHydra.instance().hydra is outer
        assert compose("config", ["experiment=quick/adding"]).seed == 0


def test_planning_needs_no_torch():
    code = "import sys, runpy; sys.argv = ['reproduce.py', '--plan', '--table', 'figure2_adding']\n"
    code += "try: runpy.run_path('scripts/reproduce.py', run_name='__main__')\n"
    code += "except SystemExit as end: assert not end.code and 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=files.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = plan.runs(["figure2_adding"], "quick")[0]
    assert f"{run.signature}  to do" in done.stdout or f"{run.signature}  finished" in done.stdout
    assert f"python -m indrnn.train {' '.join(run.overrides)}" in done.stdout


class Launcher:
    """Writes records instead of training; the jobs of LSTM fail."""

    def __init__(self, folder: Path, runs: list[plan.Run]):
        self.folder, self.runs, self.jobs = folder, runs, []

    def launch(self, jobs, initial_job_idx):
        self.jobs, returns = jobs, []
        for job in jobs:
            done = JobReturn(overrides=job, status=JobStatus.COMPLETED)
            run = next(run for run in self.runs if set(run.overrides) <= set(job))
            if run.row == "LSTM":
                done.status, done.return_value = JobStatus.FAILED, CompactHydraException("No data here.")
            else:
                record.write(self.folder / run.signature, record_of(run), [])
            returns.append(done)
        return returns


def sweeper(folder, launcher):
    made = PlanSweeper(["figure2_adding"], "quick", ["T100"], [0], False)
    made.folder, made.launcher = str(folder), launcher
    return made


def test_sweeper_launches_what_is_not_done_and_names_what_failed(tmp_path, capsys):
    runs = plan.runs(["figure2_adding"], "quick", columns=["T100"], seeds=[0])
    record.write(tmp_path / runs[0].signature, record_of(runs[0]), [])
    launcher = Launcher(tmp_path, runs)
    with pytest.raises(CompactHydraException, match="1 of 3 runs failed"):
        sweeper(tmp_path, launcher).sweep([])
    assert len(launcher.jobs) == 3
    assert all("machine.progress=false" in job for job in launcher.jobs)
    said = capsys.readouterr()
    assert "4 runs planned, 1 done before, 3 to do" in said.out
    assert "1/3  finished   figure2_adding  IndRNN, T = 100, seed 0  test/mse" in said.out
    assert "failed: LSTM, T = 100, seed 0\n  No data here." in said.err
    again = Launcher(tmp_path, runs)
    with pytest.raises(CompactHydraException):
        sweeper(tmp_path, again).sweep([])
    assert len(again.jobs) == 1


def test_sweepers_arguments_hold_for_every_run(tmp_path):
    extra = ["trainer.max_updates=2"]
    runs = plan.runs(["figure2_adding"], "quick", columns=["T100"], seeds=[0], extra=extra)
    launcher = Launcher(tmp_path, [run for run in runs if run.row != "LSTM"] * 2)
    launcher.runs = runs
    with pytest.raises(CompactHydraException):
        sweeper(tmp_path, launcher).sweep(["experiment=quick/adding", *extra])
    assert all(extra[0] in job and job.count("experiment=quick/adding") == 1 for job in launcher.jobs)


def test_sweeper_says_a_mistake_in_one_sentence(tmp_path):
    with pytest.raises(CompactHydraException, match="no table 'table9'"):
        PlanSweeper(["table9"], "quick", None, None, False).sweep([])


def test_watch_reports_a_retried_run_once(tmp_path, capsys):
    run = plan.runs(["figure2_adding"], "quick", columns=["T100"], seeds=[0])[0]
    record.write(tmp_path / run.signature, record_of(run, status="interrupted"), [])
    with Watch([run], tmp_path):
        time.sleep(0.01)  # a later mtime
        record.write(tmp_path / run.signature, record_of(run), [])
    assert capsys.readouterr().out.count("finished") == 1
