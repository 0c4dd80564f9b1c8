"""results/queue.md: every run of fast that is not done, with its place and its cost."""

import shutil

from indrnn import files, record
from indrnn.tables import plan, queue_page, schema

RESULTS = files.ROOT / "results"


def test_the_page_is_the_published_one_and_has_every_own_run_that_is_not_done():
    page = (RESULTS / "queue.md").read_text(encoding="utf-8")
    assert page == queue_page.page(RESULTS)
    runs = plan.runs([name for name in schema.default_tables() if "ntu" not in name], "fast", folder=RESULTS / "runs")
    left = [run for run in runs if plan.state(run, RESULTS / "runs") not in record.FINAL]
    own = [run for run in left if run.config["model"]["_target_"].endswith("IndRNN")]
    lines = [line for line in page.splitlines() if line.startswith("| table") and "seed" in line]
    assert len(own) == len(lines) > 0 and all(any(run.name in line for line in lines) for run in own)
    assert f"{len(runs)} runs are planned by now, {len(runs) - len(left)} of them done" in page
    assert all("unknown" not in line for line in lines)


def test_without_the_profile_there_is_no_page(tmp_path):
    (tmp_path / "runs").mkdir()
    queue_page.write(tmp_path)
    assert queue_page.page(tmp_path) == "" and not (tmp_path / "queue.md").exists()


def test_without_a_record_of_a_gpu_minutes_are_unknown(tmp_path):
    (tmp_path / "fast").mkdir()
    shutil.copytree(RESULTS / "runs/7491760812bf", tmp_path / "runs/7491760812bf")
    page = queue_page.page(tmp_path)
    assert "1 of them done" in page and "none yet" in page and "minutes unknown" in page
