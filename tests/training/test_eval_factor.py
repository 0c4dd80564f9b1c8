"""Validation and test in larger batches: the same metrics, from fewer batches; those of batch norm stay as they are."""

import pytest
import torch
from test_run import ADDING, DIGITS, rows_of

from indrnn.errors import UserError
from indrnn.training.run import build, train

SIZES = ("data.val_examples=50", "data.test_examples=70", "trainer.val_every=5", "model.hidden_size=8")
SKELETONS = ("experiment=quick/ntu_cs", "data.batch_size=4", "trainer.max_updates=4", "trainer.val_every=2")
RUNS = {
    "adding": (*ADDING, *SIZES),
    "digits": (*DIGITS, "data.counts=[40,30,50]"),  # the last batch is smaller
    "skeletons": (*SKELETONS, "model.num_layers=2", "recipe.hidden_size=16"),
}


@pytest.mark.parametrize("overrides", RUNS.values(), ids=RUNS)
def test_metrics_are_the_same(config, tmp_path, overrides):
    found, rows = [], []
    for factor in (1, 3, 1000):
        cfg = config(*overrides, f"machine.eval_factor={factor}", f"machine.runs={tmp_path / str(factor)}")
        found.append(train(cfg)["metrics"])
        rows.append([float(word) for row in rows_of(cfg)[1:] for word in row.split(",")])
    for metrics, row in zip(found[1:], rows[1:], strict=True):
        assert metrics == pytest.approx(found[0], rel=1e-6) and row == pytest.approx(rows[0], rel=1e-6)


@pytest.mark.parametrize("overrides", RUNS.values(), ids=RUNS)
def test_larger_batches_hold_the_same_examples(config, overrides):
    one, three = (build(config(*overrides, f"machine.eval_factor={factor}"))[0] for factor in (1, 3))
    B = one.batch_size
    for data in (one, three):
        data.setup()
    for loader in ("val_dataloader", "test_dataloader"):
        small, large = (list(getattr(data, loader)()) for data in (one, three))
        assert [len(y) for _, y in large[:-1]] == [3 * B] * (len(large) - 1) and len(large) == -(-len(small) // 3)
        for parts, all_of_it in zip(zip(*small, strict=True), zip(*large, strict=True), strict=True):
            assert torch.equal(torch.cat(parts), torch.cat(all_of_it))
    small, large = ([x for x, _ in data.calibration_batches(30)] for data in (one, three))
    assert [len(x) for x in small] == [len(x) for x in large] and torch.equal(torch.cat(small), torch.cat(large))


def test_it_is_1_on_a_cpu_larger_on_a_gpu_and_never_less(config):
    assert config(*ADDING).machine.eval_factor == 1 < config(*ADDING, "machine=gpu").machine.eval_factor
    for bad in ("0", "1.5", "null"):
        with pytest.raises(UserError, match=r"machine\.eval_factor must be a whole number of at least 1, not"):
            train(config(*ADDING, f"machine.eval_factor={bad}"))
