"""Why a run counts as done or does not: what is said of its config, data, code and environment."""

import pytest
from made_up import record_of

from indrnn import digests, files, machine, provenance, record, why
from indrnn.errors import UserError
from indrnn.tables import plan, schema


@pytest.fixture
def run() -> plan.Run:
    return next(run for cell in plan.plan(schema.load_table("figure2_adding"), "quick") for run in cell.runs)


def told(run: plan.Run, tmp_path, **changes) -> str:
    """What is said of the record that would be made here and now, but for some changes."""
    code = provenance.code() | {"dirty": False}
    entry = record_of(run) | code | {"device": machine.device_name("cpu")}
    entry["data"] |= {"digest": digests.of(run.config["data"])}
    record.write(tmp_path / run.signature, entry | changes, [])
    return why.main(run.signature, tmp_path)


def test_a_run_of_here_and_now_would_come_out_the_same(run, tmp_path):
    text = told(run, tmp_path)
    assert text.count("as then") == 4
    assert text.endswith("So it counts as done, and trained anew it would come out the same.")


@pytest.mark.parametrize(
    "changes, line, so",
    [
        ({"source": "0" * 12}, "code         " + "0" * 40 + " (source " + "0" * 12, "its digits may differ"),
        ({"device": "an abacus"}, "environment  an abacus -> ", "its digits may differ"),
        ({"versions": {"torch": "1.0"}}, "environment  torch 1.0 -> 2", "its digits may differ"),
        ({"data": {"digest": "0" * 12}}, "data         digest 000000000000 -> ", "the same command trains it anew"),
        ({"data": {}}, "data         an earlier version took no digest", "would come out the same"),
        ({"status": "interrupted"}, "config       as then", "goes on with it"),
    ],
)
def test_each_difference_is_said_with_what_follows(run, tmp_path, changes, line, so):
    if "source" in changes:
        changes = changes | {"commit": "0" * 40}
    text = told(run, tmp_path, **changes)
    assert line in text and so in text.splitlines()[-1]


def test_what_the_overrides_make_today_is_said_key_by_key(run, tmp_path):
    overrides = [*run.overrides, "trainer.max_updates=7"]
    text = told(run, tmp_path, overrides=overrides)
    assert "trainer.max_updates: 500.0 -> 7.0" in text and "name another run today" in text.splitlines()[-1]
    text = told(run, tmp_path, overrides=["experiment=gone"])
    assert "its overrides make none today: There is no experiment 'gone'" in text


def test_a_published_record_is_called_so_and_what_has_none_is_one_sentence(tmp_path):
    published = sorted((files.ROOT / "results" / "runs").iterdir())[0].name
    assert why.main(published, tmp_path).endswith("this machine has not made the run.")
    with pytest.raises(UserError, match="no1 has no record in .*: `make plan` lists the runs"):
        why.main("no1", tmp_path)
    with pytest.raises(UserError, match="Which run"):
        why.main("", tmp_path)
