"""What holds for any config, record and mix of records, looked for with hypothesis; the same examples every time."""

import csv
import functools
import io
import itertools
import logging
import math
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from made_up import record_of
from omegaconf import OmegaConf

from indrnn import configs, files, record
from indrnn.tables import judged, plan, profile_differences, render, schema, table_text

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "hypothesis")  # its caches; nothing that tests depend on
settings.register_profile("here", deadline=None, derandomize=True, database=None, suppress_health_check=HealthCheck)
settings.load_profile("here")


# Signatures

DECIDING = ("experiment=quick/adding", "model=lstm", "data.seq_len=17", "recipe.gamma=3", "seed=4")
ELSEWHERE = ("machine=gpu", "machine.runs=/elsewhere", "machine.threads=7", "logger=csv", "trainer.max_time=60")

numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | numbers | st.text(max_size=5)
values = st.recursive(leaves, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x, max_size=3))
made_configs = st.dictionaries(st.text(max_size=3), values, max_size=4)


@settings(max_examples=12)
@given(st.sets(st.sampled_from(ELSEWHERE)).flatmap(lambda more: st.permutations([*DECIDING, *sorted(more)])))
def test_order_and_machine_leave_the_signature(overrides):
    assert signature_of(overrides) == signature_of(DECIDING)


def signature_of(overrides) -> str:
    return configs.signature(configs.signed(configs.build(overrides)))


def test_any_changed_value_changes_the_signature_unless_it_is_of_the_machine():
    """Every leaf of a composed config, one after the other: all there are is better than some."""
    cfg = configs.build(DECIDING)
    before = configs.signature(configs.signed(cfg))
    plain = OmegaConf.to_container(cfg, resolve=True)
    changed = {}
    for path in paths(plain):
        other = OmegaConf.create(plain)
        OmegaConf.update(other, path, "something else")
        changed[path] = configs.signature(configs.signed(other)) != before
    unsigned = {path for path, new in changed.items() if not new}
    assert unsigned == {p for p in changed if p.startswith(("machine.", "logger.")) or p == "trainer.max_time"}
    assert len(changed) - len(unsigned) > 20 and len(unsigned) > 8


def paths(config: dict, above: str = "") -> list[str]:
    """The dotted path of every leaf."""
    found = []
    for key, value in config.items():
        found += paths(value, f"{above}{key}.") if isinstance(value, dict) else [f"{above}{key}"]
    return found


def alike(value, draw):
    """The same for a signature: other order of keys, nulls more, whole numbers of the other type."""
    if isinstance(value, dict):
        items = draw(st.permutations(list(value.items())))
        return {key: alike(item, draw) for key, item in items} | {f"new option {i}": None for i in range(len(items))}
    if isinstance(value, list):
        return [alike(item, draw) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return int(value) if isinstance(value, float) and value.is_integer() and math.copysign(1, value) > 0 else value


@settings(max_examples=200)
@given(made_configs, st.data())
def test_signature_drops_nulls_and_order_and_the_type_of_numbers(config, data):
    """Whole numbers up to 2^53: beyond it floats, which signatures are made of, no longer tell neighbours apart."""
    assert configs.signature(alike(config, data.draw)) == configs.signature(config)


@settings(max_examples=200)
@given(made_configs, made_configs)
def test_what_differs_by_more_than_that_has_another_signature(one, other):
    assert (configs.signature(one) == configs.signature(other)) == (plainly(one) == plainly(other))


def plainly(value) -> str:
    """Nulls dropped, keys sorted: written a second time, to be compared with."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{k!r}:{plainly(v)}' for k, v in sorted(value.items()) if v is not None)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(plainly, value))}]"
    return repr(float(value)) if type(value) is int else repr(value)


# Records


def complete(config: dict, rest: dict) -> dict:
    return rest | {"config": config, "signature": configs.signature(config)}


amounts = st.integers(0, 2**40)
# Of a record each kind of value that it may have; others are refused when it is read.
kinds = {
    "overrides": st.lists(st.text()),
    "seed": st.integers(0, 2**32 - 1),
    "metrics": st.dictionaries(st.sampled_from(["test/mse", "val/bpc", "test/loss"]), st.floats(0, 1e9) | amounts),
    "status": st.sampled_from(["finished", "diverged", "interrupted", "out_of_memory", "no_data"]),
    "parameters": amounts,
    "updates": amounts,
    "examples": amounts,
    "wall_seconds": st.floats(0, 1e9) | amounts,
    "commit": st.text(min_size=1).filter(str.strip),
    "source": st.text(min_size=1).filter(str.strip),
    "dirty": st.booleans(),
    "versions": st.dictionaries(st.text(), st.text(min_size=1)),
    "device": st.text(min_size=1).filter(str.strip),
    "data": st.dictionaries(st.text(), values),
    "started": st.datetimes().map(lambda time: time.isoformat()),
}
records = st.builds(complete, made_configs, st.fixed_dictionaries(kinds))


@settings(max_examples=100)
@given(records, st.lists(st.dictionaries(st.text('a/,\n"é', min_size=1), numbers, min_size=1, max_size=3), max_size=3))
def test_a_record_is_read_back_as_it_was_written(tmp_path_factory, entry, curve):
    folder = tmp_path_factory.mktemp("run")
    record.write(folder, entry, curve)
    assert record.read(folder) == entry
    lines = list(csv.DictReader(io.StringIO((folder / "curve.csv").read_text())))
    assert [{k: float(v) for k, v in line.items() if v} for line in lines] == curve


@settings(max_examples=300)
@given(st.floats(0, 1 - 1e-9), st.none() | st.sampled_from(b'0179e-.",:}x \x00\xff'))
def test_a_damaged_record_is_told_or_harmless(tmp_path_factory, caplog, where, byte):
    """Cut anywhere, or with any one byte changed, a record is told and not counted, or it still is what it was but
    for single values outside of its config.

    The limit: only the config is signed. A digit changed within metrics, status or provenance is believed.
    """
    run = planned("figure2_adding", "quick")[0][0].runs[0]
    entry, folder = record_of(run), tmp_path_factory.mktemp("run")
    record.write(folder, entry, [])
    path = folder / "run.json"
    content = path.read_bytes()
    at = int(where * (len(content) - 1))  # the last byte is the end of the last line, which may go
    path.write_bytes(content[:at] if byte is None else content[:at] + bytes([byte]) + content[at + 1 :])
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        found = record.read(folder)
    if found is None:
        assert str(path) in caplog.text and "counted as not run" in caplog.text
    else:
        assert byte is not None and not caplog.text
        assert plainly(found["config"]) == plainly(entry["config"]) and found["signature"] == entry["signature"]
        assert set(record.KEYS) <= set(found)


# Tables

KINDS = ("to do", "interrupted", "diverged", "out_of_memory", "no_data", "no number")
JUDGED = {"reproduced", "better", "worse", "no number in the paper", "curve, no number", "not run in the paper"}
JUDGED |= {"within tolerance, n too small"}

# Metrics are float32 numbers; here none is negative, so that negative ones need not be huge, too.
finite = (
    st.sampled_from([0.0, 0.5, 100.0]) | st.floats(-1000, 1000, width=32) | st.floats(0, width=32, allow_infinity=False)
)


patterns = st.one_of(
    st.lists(finite, min_size=1, max_size=5),
    st.lists(finite | st.sampled_from(["to do", "interrupted"]), min_size=2, max_size=5),
    st.lists(finite | st.sampled_from(KINDS), min_size=1, max_size=5),
)
pools = st.lists(patterns, min_size=1, max_size=6)  # a cell repeats one of few patterns, or examples grow too large


def entry_of(run: plan.Run, outcome: float | str) -> dict | None:
    if outcome == "to do":
        return None
    if outcome == "no number":
        return record_of(run) | {"metrics": {}}
    if outcome == "out_of_memory":
        return record_of(run, status=outcome) | {"metrics": {"memory/asked_gib": 79.15}}
    return record_of(run, status=outcome) if isinstance(outcome, str) else record_of(run, outcome)


def measure_too(entry: dict | None, run: plan.Run) -> None:
    """The runs of one row may be those of another, which reads another metric."""
    if entry and entry["status"] == "finished" and entry["metrics"]:
        (value, *_) = (value for name, value in entry["metrics"].items() if name.startswith("test/"))
        entry["metrics"].setdefault(run.metric, value)


@functools.cache
def planned(name: str, profile: str):
    table = schema.load_table(name)
    cells = plan.plan(table, profile)
    return cells, profile_differences.cuts(table, profile, cells)


@pytest.mark.parametrize("name", schema.table_names())
@pytest.mark.parametrize("profile", schema.PROFILES)
@settings(max_examples=40)
@given(data=st.data())
def test_a_table_of_any_mix_is_whole_and_hides_nothing(name, profile, data):
    """Huge, tiny, negative and equal numbers; runs that are missing, stopped, diverged, out of memory, without data."""
    cells, differences = planned(name, profile)
    pool, results = data.draw(pools), {}
    for cell in cells:
        pattern = itertools.cycle(pool[data.draw(st.integers(0, len(pool) - 1))] if cell.runs else ())
        for run in cell.runs:
            results.setdefault(run.signature, entry_of(run, next(pattern)))
            measure_too(results[run.signature], run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "plan", lambda *arguments, **choice: cells)
        patch.setattr(profile_differences, "cuts", lambda *arguments: differences)
        patch.setattr(judged, "records", lambda runs, folder: results)
        report = judged.report(name, profile, files.ROOT)
    whole(report)
    for column in report.columns.values():
        for result in column.values():
            judged_by_its_runs(result, report)
    for text, found in report.claims:
        assert found.verdict in ("holds", "does not hold", "undecided") and found.evidence and "{" not in text


def whole(report: judged.Report) -> None:
    """Nothing blank, nothing that is not a number, and a terminal shows it."""
    terminal, page = render.markdown(report, None), render.markdown(report, "../runs")
    texts = (terminal, page, render.csv(report), render.tex(report))
    for text in texts:
        assert not re.search(r"\b(nan|NaN|None|inf|Infinity)\b", text)
    assert not [line for line in terminal.splitlines() if len(line) > 120]
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert all(field.strip() for row in rows for field in re.split(r"(?<!\\)\|", row)[1:-1])


def judged_by_its_runs(result: judged.Result, report: judged.Report) -> None:
    """The words of a cell follow from the outcomes of its runs; a mean has one value per planned run or says less."""
    statuses = [entry["status"] if entry else "to do" for entry in result.records]
    found = [
        entry["metrics"].get(f"test/{result.row.metric or report.table.metric}")
        for entry in result.made
        if entry["status"] == "finished"
    ]
    failed = statuses.count("diverged") + found.count(None)
    shown = table_text.cells(result, report.table.number)[3]
    done = len(found) - found.count(None)
    choosing = len({run.candidate for run in result.runs}) > 1  # not all runs of all candidates are final
    if not result.runs:
        assert result.verdict and shown == "-"
    elif failed or choosing:
        assert shown == "-" and not result.ours.values and result.gap is None
        assert choosing or result.verdict == f"failed {failed}/{len(result.runs)}"
    else:
        assert sorted(result.ours.values) == sorted(found) and shown.endswith(f"({done})") == bool(done)
        assert not done or result.ours.mean == pytest.approx(sum(found) / done)
    if result.runs and (choosing or (done < len(result.runs) and not failed)):
        assert re.fullmatch(r"(incomplete|no data|out of memory) \d+/\d+", result.verdict)
    elif result.runs and not failed:
        when = report.table.stays_below and result.verdict.startswith("never below ")  # there is no curve here
        assert when or result.verdict in JUDGED or result.verdict == f"not judged at {report.profile}"
