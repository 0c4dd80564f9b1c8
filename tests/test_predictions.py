"""What networks answered: kept beside their records, and compared example by example."""

import numpy as np
import pytest
from made_up import record_of
from test_run import DIGITS, SMALL, folder
from test_sitting import LANGUAGE, interrupt

from indrnn import predictions, record
from indrnn.errors import UserError
from indrnn.tables import plan, schema
from indrnn.training.run import train

SKELETONS = (
    *("experiment=quick/ntu_cs", "model.num_layers=1", "recipe.hidden_size=4", "data.batch_size=8"),
    *("trainer.max_updates=4", "trainer.val_every=2"),
)


@pytest.mark.parametrize("overrides", [SMALL, DIGITS, SKELETONS], ids=["adding", "digits", "skeletons"])
def test_the_test_metric_follows_from_what_a_run_keeps(config, overrides):
    cfg = config(*overrides)
    metrics = train(cfg)["metrics"]
    found = predictions.read(folder(cfg))
    assert found["example"].tolist() == list(range(len(found["answer"])))
    if overrides is SMALL:
        assert set(found) == {"example", "answer", "value"} and len(found["answer"]) == 20
        mse = np.square(found["answer"].astype(np.float64) - found["value"]).mean()
        assert mse == pytest.approx(metrics["test/mse"], rel=1e-5)
    else:
        assert set(found) == {"example", "answer", "label"}
        error = 100 * (found["answer"] != found["label"]).mean()
        expected = metrics["test/error"] if "test/error" in metrics else 100 - metrics["test/accuracy"]
        assert error == pytest.approx(expected, rel=1e-5) and found["answer"].dtype == found["label"].dtype == np.uint8


def test_the_same_run_keeps_the_same_bytes_also_after_a_stop(config, monkeypatch, tmp_path):
    undisturbed, cfg = config(*DIGITS, f"machine.runs={tmp_path / 'undisturbed'}"), config(*DIGITS)
    train(undisturbed)
    interrupt(monkeypatch, cfg, 7)
    assert not (folder(cfg) / predictions.NAME).exists()
    train(cfg)
    other = config(*DIGITS, "recipe.learning_rate=0.01")
    train(other)
    first, second, third = ((folder(c) / predictions.NAME).read_bytes() for c in (undisturbed, cfg, other))
    assert first == second != third


def test_a_text_keeps_none_and_an_older_file_does_not_stay(config):
    cfg = config(*LANGUAGE)
    folder(cfg).mkdir(parents=True)
    (folder(cfg) / predictions.NAME).write_bytes(b"of a run that was made again")
    train(cfg)
    assert not (folder(cfg) / predictions.NAME).exists()
    with pytest.raises(UserError, match=r"is no finished run with predictions.npz.*a text keeps none"):
        predictions.read(folder(cfg))


def test_what_is_too_large_is_not_kept_and_mnist_is_small(tmp_path):
    path, dice = tmp_path / predictions.NAME, np.random.default_rng(0)
    label = dice.integers(0, 10, 10_000)
    answer = np.where(dice.random(10_000) < 0.02, dice.integers(0, 10, 10_000), label)
    predictions.write(tmp_path, {"answer": answer, "label": label})
    assert path.stat().st_size < 30_000
    predictions.write(tmp_path, {"answer": np.zeros(200_000, np.float32), "value": np.zeros(200_000, np.float32)})
    assert not path.exists()


def test_a_full_disk_leaves_no_half_of_it(tmp_path, monkeypatch):
    predictions.write(tmp_path, {"answer": np.arange(3), "label": np.arange(3)})
    before = (tmp_path / predictions.NAME).read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="predictions.npz"):
        predictions.write(tmp_path, {"answer": np.arange(4), "label": np.arange(4)})
    assert [path.name for path in tmp_path.iterdir()] == [predictions.NAME]
    assert (tmp_path / predictions.NAME).read_bytes() == before


@pytest.fixture
def made(tmp_path):
    """made(seed, answer=..., label=...) -> the folder of a finished run that answered so."""
    runs = [run for cell in plan.plan(schema.load_table("table1_mnist"), "quick") for run in cell.runs]

    def make(number, **arrays):
        entry = record_of(runs[number])
        record.write(tmp_path / entry["signature"], entry, [])
        predictions.write(tmp_path / entry["signature"], {name: np.array(x) for name, x in arrays.items()})
        return tmp_path / entry["signature"]

    return make


def test_classes_are_counted_as_mcnemar_does(made):
    label = [0, 1, 2, 3, 4, 5, 6, 7]
    a = made(0, answer=[0, 1, 2, 3, 4, 5, 0, 0], label=label)
    b = made(1, answer=[0, 0, 0, 0, 0, 0, 6, 0], label=label)
    found = predictions.compare(a, b)
    assert found == {"both": 1, "only_a": 5, "only_b": 1, "neither": 1, "p": pytest.approx(2 * (1 + 6) / 2**6)}
    assert predictions.compare(b, a)["only_b"] == 5
    assert predictions.compare(a, a) == {"both": 6, "only_a": 0, "only_b": 0, "neither": 2, "p": 1.0}


def test_values_are_compared_by_which_is_nearer(made):
    a = made(0, answer=[0.5, 0.5, 1.0], value=[0.4, 0.9, 1.2])
    b = made(1, answer=[0.5, 1.0, 1.1], value=[0.4, 0.9, 1.2])
    assert predictions.compare(a, b) == {"both": 1, "only_a": 0, "only_b": 2, "p": 0.5}


def test_other_examples_and_damaged_files_are_refused(made):
    a, b = made(0, answer=[1, 2], label=[1, 2]), made(1, answer=[1, 2], label=[2, 1])
    with pytest.raises(UserError, match="were tested on different examples: compare runs of the same data"):
        predictions.compare(a, b)
    with pytest.raises(UserError, match="different examples"):
        predictions.compare(a, made(1, answer=[1.0, 2.0], value=[1.0, 2.0]))
    (b / predictions.NAME).write_bytes((a / predictions.NAME).read_bytes()[:100])
    with pytest.raises(UserError, match=rf"{b / predictions.NAME} is damaged \(BadZipFile\): "):
        predictions.compare(a, b)
    with pytest.raises(UserError, match="no finished run"):
        predictions.compare(a, a.parent)
