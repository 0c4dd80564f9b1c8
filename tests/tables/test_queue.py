"""The order in which unfinished runs are made, and what they cost."""

from pathlib import Path

import pytest
from made_up import record_of

from indrnn import progress, provenance, record
from indrnn.tables import plan, queue

HERE = provenance.cpu()


@pytest.fixture(scope="module")
def runs() -> list[plan.Run]:
    return plan.runs(["figure2_adding"], "fast", columns=["T100", "T500"], seeds=[0, 1])


def named(runs: list[plan.Run], name: str) -> plan.Run:
    return next(run for run in runs if run.name == name)


def sat(folder: Path, run: plan.Run, updates: int, seconds: float = 0.0, status="interrupted", device=HERE) -> None:
    """A record of a run as it is after so many updates in a sitting on a device."""
    entry = record_of(run, status=status) | {"updates": updates, "examples": 32 * updates, "device": device}
    code = {key: entry[key] for key in ("commit", "source", "versions")}
    entry["sittings"] = [code | {"device": device, "updates": [0, updates], "seconds": seconds}]
    record.write(folder / run.signature, entry, [])


def names(folder: Path, runs: list[plan.Run]) -> list[str]:
    return [place.run.name for place in queue.places(runs, folder)]


def test_own_rows_come_first_then_lower_seeds_then_cheaper_ones(tmp_path, runs):
    order = names(tmp_path, reversed(runs))
    assert order[:4] == [f"IndRNN, T = {T}, seed {seed}" for seed in (0, 1) for T in (100, 500)]
    assert [int(name[-1]) for name in order[4:]] == sorted(int(name[-1]) for name in order[4:])
    assert all("T = 100" in name for name in order[4:7]) and all("T = 500" in name for name in order[7:10])
    assert len(order) == len(runs) == 16


@pytest.mark.parametrize("updates, first", [(4801, True), (4799, False)])
def test_a_run_with_less_than_a_fifth_left_comes_before_all(tmp_path, runs, updates, first):
    late = named(runs, "LSTM, T = 500, seed 1")
    sat(tmp_path, late, updates, 10.0)
    places = queue.places(runs, tmp_path)
    assert (places[0].run == late) == first
    place = next(place for place in places if place.run == late)
    assert place.updates == 6000 - updates and f"{updates:,} of 6,000 updates made" in place.words()


def test_what_a_killed_run_said_counts_where_its_checkpoint_is(tmp_path, runs):
    run = named(runs, "IndRNN, T = 500, seed 1")
    sat(tmp_path, run, 1000, 10.0)
    said = {"overrides": [], "config": run.config, "updates": 4900, "metrics": {}, "seconds": 9.0}
    progress.write(tmp_path / run.signature, said)
    assert next(place.made for place in queue.places(runs, tmp_path) if place.run == run) == 1000
    (tmp_path / run.signature / "last.ckpt").touch()
    first = queue.places(runs, tmp_path)[0]
    assert first.run == run and first.nearly and first.updates == 1100


def test_what_is_done_is_in_no_queue(tmp_path, runs):
    sat(tmp_path, runs[0], 6000, 1.0, status="finished")
    assert runs[0].name not in names(tmp_path, runs) and len(names(tmp_path, runs)) == 15


def test_cost_is_what_is_left_at_the_speed_of_the_same_network_here(tmp_path, runs):
    sat(tmp_path, named(runs, "IndRNN, T = 100, seed 0"), 1000, 50.0)
    seconds = {place.run.name: place.seconds for place in queue.places(runs, tmp_path)}
    assert seconds["IndRNN, T = 100, seed 0"] == pytest.approx(5000 * 0.05)
    assert seconds["IndRNN, T = 100, seed 1"] == pytest.approx(6000 * 0.05)
    assert seconds["IndRNN, T = 500, seed 1"] == pytest.approx(6000 * 0.25), "five times the steps"
    sat(tmp_path, named(runs, "LSTM, T = 500, seed 0"), 100, 40.0)
    assert {p.run.name: p.seconds for p in queue.places(runs, tmp_path)}["LSTM, T = 500, seed 1"] == pytest.approx(2400)


def test_other_machines_and_records_without_sittings_say_nothing_of_the_speed_here(tmp_path, runs):
    sat(tmp_path, runs[0], 10, 1.0, device="NVIDIA H200")
    record.write(tmp_path / runs[1].signature, record_of(runs[1], status="interrupted"), [])
    damaged = tmp_path / ("f" * 12)
    damaged.mkdir()
    (damaged / "run.json").write_text("{")
    assert all(place.seconds is None for place in queue.places(runs[2:], tmp_path))
    assert "unknown" in queue.costs(queue.places(runs[2:], tmp_path))
    assert queue.places(runs[:1], tmp_path, "gpu")[0].seconds == pytest.approx(5990 * 0.1)
    old = record_of(runs[2], status="interrupted") | {"device": "NVIDIA H100"}
    record.write(tmp_path / runs[2].signature, old | {"wall_seconds": 60.0}, [])
    assert queue.Speed(tmp_path, "gpu").seconds(runs[2].config) == pytest.approx(0.01)


def test_costs_add_up_by_table(tmp_path, runs):
    sat(tmp_path, named(runs, "IndRNN, T = 100, seed 0"), 6000, 600.0, status="finished")
    text = queue.costs(queue.places(runs[:1] + [named(runs, "IndRNN, T = 100, seed 1")], tmp_path))
    assert "| figure2_adding         | 2    | 12,000  |" in text
