"""Sequences of one's own from csv files: read, split, standardised, padded, trained; every mistake in one sentence."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from test_config import MODELS
from test_run import Killed, kill_at, outcome

from indrnn import digests, files, predictions, record
from indrnn.data import TEST, TRAIN, VAL
from indrnn.data.stand_in import series
from indrnn.errors import UserError
from indrnn.tables import milestones
from indrnn.tasks import Classification, Regression
from indrnn.training.run import train
from indrnn.training.sitting import folder_of

TINY = ("model.hidden_size=4", "trainer.max_updates=2", "trainer.val_every=2", "data.batch_size=8")
LABELS = ("data.target=kind", "data.labels=[up,down]")
SPLITS = ["train"] * 6 + ["val"] * 2 + ["test"] * 2


def table(path: Path, lengths=range(3, 13), separator: str = ",", splits=SPLITS) -> Path:
    """Ten sequences of two inputs; the answer is a number, which stands in the last row, and a label in every row."""
    rng = np.random.default_rng(0)
    lines = [separator.join(["id", "x", "z", "y", "kind", "part"])]
    for name, (T, part) in enumerate(zip(lengths, splits, strict=True)):
        x = rng.normal(50, 5, (T, 2))
        for t, (one, other) in enumerate(x):
            y = f"{1000 * x[:, 0].mean():.3f}" if t == T - 1 else ""
            lines.append(separator.join([f"s{name}", f"{one:.4f}", f"{other:.4f}", y, ["up", "down"][name % 2], part]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def data(config, tmp_path):
    """data("data.split=part", ...) -> the data of a config, set up; its file is table.csv unless it says another."""
    table(tmp_path / "table.csv")

    def build(*words: str):
        cfg = config("experiment=csv", f"data.path={tmp_path / 'table.csv'}", *words)
        found = instantiate(cfg.data)
        found.setup()
        return found

    return build


@pytest.fixture
def said(data, tmp_path):
    """said(change, ...) -> the one sentence about table.csv with its text changed."""

    def sentence(change=lambda text: text, *words: str) -> str:
        path = tmp_path / "table.csv"
        path.write_text(change(path.read_text()))
        with pytest.raises(UserError) as caught:
            data(*words)
        text = str(caught.value)
        assert "\n" not in text and text.endswith((".", ")."))
        return text.replace(f"{tmp_path}/", "")

    return sentence


def test_sequences_are_padded_and_standardised_by_training_alone(data):
    found = data("data.inputs=[x,z]", "data.split=part")
    x, y, lengths = found.examples(TRAIN)
    assert x.shape == (6, 12, 2) and lengths.tolist() == [3, 4, 5, 6, 7, 8]  # T of the longest of all is 12
    valid = torch.cat([row[:T] for row, T in zip(x, lengths, strict=True)]).double()
    assert valid.mean(0).abs().max() < 1e-6 and (valid.std(0, correction=0) - 1).abs().max() < 1e-6
    assert y.shape == (6, 1) and abs(y.mean()) < 1e-5 and abs(y.std(correction=0) - 1) < 1e-5
    assert [len(found.examples(split)[0]) for split in (VAL, TEST)] == [2, 2]
    about = found.describe()
    assert np.abs(np.array(about["mean"]) - 50).max() < 5 and about["counts"] == [6, 2, 2] and about["steps"] == [3, 12]
    assert about["target_mean"] > 40_000 and about["target_std"] > 100


def test_whatever_stands_in_the_validation_moves_no_training_example(data, tmp_path):
    before = data("data.split=part").examples(TRAIN)
    path = tmp_path / "table.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(f"{line.split(',')[0]},9e9,1,1e9,up,val" if ",val" in line else line for line in lines))
    after = data("data.split=part").examples(TRAIN)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_sequences_of_one_length_have_no_lengths_and_numbers_come_back(data, tmp_path):
    table(tmp_path / "table.csv", [5] * 10)
    found = data("data.split=part")
    x, y = found.examples(TEST)
    rows = [line.split(",") for line in (tmp_path / "table.csv").read_text().splitlines()[1:]]
    last = [row for row in rows if row[0] == "s9"]
    about = found.describe()
    raw = x[-1, :, 0].double() * about["std"][0] + about["mean"][0]
    assert raw.tolist() == pytest.approx([float(row[1]) for row in last], abs=1e-4)
    assert y[-1].item() * about["target_std"] + about["target_mean"] == pytest.approx(float(last[-1][3]), rel=1e-5)


def test_rows_may_be_mixed_and_semicolons_tabs_and_a_bom_are_read(data, tmp_path):
    path = tmp_path / "table.csv"
    whole = data("data.split=part")
    head, *rows = path.read_text().splitlines()
    mixed = [row for t in range(12) for row in rows if [r for r in rows if r[:3] == row[:3]].index(row) == t]
    for text in ("\n".join([head, *mixed]), "\ufeff" + "\n\n".join([head, *rows]).replace(",", ";"),
                 "\r\n".join([head, *rows]).replace(",", "\t")):  # fmt: skip
        path.write_bytes(text.encode())
        other = data("data.split=part")
        for split in (TRAIN, VAL, TEST):
            pairs = zip(whole.examples(split), other.examples(split), strict=True)
            assert all(torch.equal(one, two) for one, two in pairs)


def test_a_folder_of_files_is_read_with_each_file_a_sequence_or_with_a_column(data, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    head, *rows = table(tmp_path / "table.csv").read_text().splitlines()
    for name in range(10):
        own = [row for row in rows if row.startswith(f"s{name},")]
        (folder / f"{name}.csv").write_text("\n".join([head, *own]))
    (folder / "notes.txt").write_text("no csv")
    one = data("data.split=part").examples(TRAIN)
    for words in ((), ("data.sequence=null",)):
        other = data("data.split=part", f"data.path={folder}", *words).examples(TRAIN)
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_split_by_a_seed_is_the_same_for_every_run_and_covers_all(data):
    def of(*words):
        return [data("data.val_share=0.2", "data.test_share=0.3", *words).examples(split)[1] for split in range(3)]

    first, again, other = of("seed=0"), of("seed=1"), of("data.split_seed=1")
    assert [len(y) for y in first] == [5, 2, 3]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[TRAIN], other[TRAIN])


def test_labels_are_numbered_as_they_are_named(data):
    _, y, _ = data(*LABELS, "data.split=part").examples(TRAIN)
    assert y.tolist() == [0, 1, 0, 1, 0, 1] and y.dtype == torch.int64
    _, y, _ = data("data.target=kind", "data.labels=[down,up]", "data.split=part").examples(TRAIN)
    assert y.tolist() == [1, 0, 1, 0, 1, 0]


def after(place: str, new: str):
    """A change of a text: what stands at the first ``place`` is ``new``."""
    return lambda text: text.replace(place, new, 1)


def column(number: int, value: str, of: str):
    """A change of a text: the field of the rows that hold ``of``."""

    def change(text: str) -> str:
        rows = [line.split(",") for line in text.splitlines()]
        return "\n".join(",".join(row[:number] + [value] + row[number + 1 :] if of in row else row) for row in rows)

    return change


MISTAKES = {
    "no column": (None, ("data.inputs=[x,w]",), "table.csv has no column 'w': data.inputs names one that is there; "
                  "there are: id, x, z, y, kind, part."),
    "no target": (None, ("data.target=Y",), "no column 'Y': data.target"),
    "no ids": (None, ("data.sequence=name",), "or null where each file is one sequence"),
    "no split": (None, ("data.split=set",), "no column 'set': data.split"),
    "a word": (after("\ns0,", "\ns0,abc"), (), "table.csv:2: column 'x' is 'abc"),
    "a gap": (column(1, " ", "s1"), (), "table.csv:5: column 'x' is empty, not a number."),
    "nan": (column(1, "nan", "s1"), (), "table.csv:5: column 'x' is nan, not a finite number."),
    "an answer that is a word": (column(3, "?", "s2"), (), "'y' is '?', not a number; data.labels=[...] names"),
    "no answer": (column(3, "", "s2"), (),
        "table.csv:9: sequence s2 has no answer: column 'y' is empty in all of it."),
    "two answers": (lambda text: column(4, "up", "s1")(text).replace(",up,", ",down,", 1), LABELS,
                    "a sequence (s0) has one answer; leave the other rows empty."),
    "no name": (column(0, "", "s3"), (), "table.csv:14: column 'id' is empty"),
    "a short row": (after(",part", ",part\ns0,1"), (),
        "table.csv:2: the row has 2 fields, and 6 columns have a name."),
    "nothing": (lambda _: "", (), "table.csv is empty: the first line names the columns"),
    "a head": (lambda text: text.splitlines()[0], (), "table.csv has no rows"),
    "two of one name": (after("z", "x"), (), "table.csv:1: two columns have the name 'x'"),
    "an open quote": (after("\ns0,", '\n"s0,'), (), "table.csv:"),
    "an unknown label": (column(4, "left", "s4"), LABELS,
        "column 'kind' is 'left', which data.labels does not name: up, down."),
    "a label that training lacks": (column(4, "up", "train"), (*LABELS, "data.split=part"),
                                    "of the validation has the label 'down', which none of training has."),
    "an unknown split": (column(5, "dev", "val"), ("data.split=part",),
        "column 'part' is 'dev', and must be one of train, val, test."),
    "no test": (column(5, "val", "test"), ("data.split=part",), "no sequence is 'test' in column 'part'."),
    "two splits": (after("train", "val"), ("data.split=part",),
        "sequence s0 is in 'train' here and in 'val' in table.csv:2."),
    "too long": (None, ("data.seq_len=11",), "a sequence of 12 steps begins here: set data.seq_len to that or more."),
    "too few": (None, ("data.val_share=0.04",),
        "has 10 sequences, of which data.val_share=0.04 and data.test_share=0.15 leave"),
    "one file": (after("", ""), ("data.sequence=null", "data.target=z"), "a sequence (table.csv) has one answer"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_in_a_file_is_a_sentence_that_names_the_place(said, kind):
    change, words, told = MISTAKES[kind]
    assert told in said(change or (lambda text: text), *words)


@pytest.mark.parametrize(
    "words, told",
    [
        (("data.path=nowhere.csv",), "nowhere.csv is not there: data.path names a csv file or a folder of them"),
        (("data.path=null",), "data.path names no csv file: say data.path=FILE"),
        (("data.inputs=[]",), "data.inputs must name at least one column"),
        (("data.inputs=[x,y]",), "names the column 'y' twice"),
        (("data.inputs=[x,x]",), "names the column 'x' twice"),
        (("data.labels=[up]",), "data.labels must name two or more different labels"),
        (("data.val_share=0.6", "data.test_share=0.4"), "must be above 0 and leave some for training"),
        (("data.split_seed=-1",), "data.split_seed must be at least 0"),
        (("data.inputs=x",), "data.inputs must be a list"),
        (("data.inputs=5",), "data.inputs must be a list"),
        (("data.labels=[true,false]",), "data.labels must be a list of which each is a word or a whole number"),
        (("data.target=null",), "data.target must be a word"),
        (("data.output_size=2",), "data.input_size, data.output_size are (1, 1)"),
    ],
)
def test_a_mistaken_word_is_a_sentence(config, tmp_path, words, told):
    path = table(tmp_path / "table.csv")
    with pytest.raises(Exception) as caught:
        train(config("experiment=csv", f"data.path={path}", *words))
    error = caught.value if isinstance(caught.value, UserError) else caught.value.__cause__
    assert isinstance(error, UserError) and told in str(error) and "\n" not in str(error)


def test_what_is_no_text_and_an_empty_folder_are_named(data, tmp_path):
    (tmp_path / "table.csv").write_bytes(b"id,x,y\n\xff\xfe,1,2\n")
    with pytest.raises(UserError, match="table.csv is no text in UTF-8"):
        data()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty has no .csv file"):
        data(f"data.path={tmp_path / 'empty'}")


@pytest.mark.parametrize("answers", [(), LABELS], ids=["numbers", "labels"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_on_padded_sequences(config, tmp_path, model, answers):
    words = [word for word in TINY if word != "model.hidden_size=4" or model != "dense_indrnn"]
    words += ["recipe.batch_norm=after"] * ("indrnn" in model)
    cfg = config("experiment=csv", f"model={model}", f"data.path={table(tmp_path / 'table.csv')}", *words, *answers)
    done = train(cfg)
    metric = "error" if answers else "mse"
    assert done["status"] == "finished" and {f"val/{metric}", f"test/{metric}"} <= set(done["metrics"])
    assert done["data"]["digest"] == digests.of(cfg.data)
    told = predictions.read(folder_of(cfg))
    assert len(told["answer"]) == 2 and ("label" in told) == bool(answers)
    assert cfg.task._target_.endswith("Classification" if answers else "Regression")


def test_padding_changes_no_answer(config, tmp_path):
    """The answer to a sequence alone, without padding, is that of the padded batch."""
    cfg = config("experiment=csv", f"data.path={table(tmp_path / 'table.csv')}", "data.inputs=[x,z]")
    data = instantiate(cfg.data)
    data.setup()
    for model in ("indrnn", "lstm"):
        network = instantiate(config("experiment=csv", f"model={model}", "data.inputs=[x,z]").model)
        task = Regression(
            network.eval(), instantiate(cfg.task.schedule), 0, 2, 2
        )  # eval: batch norm is of the batch else
        x, y, lengths = data.examples(TRAIN)
        together, _ = task.measure((x, y, lengths))
        alone = [task.answer(row[None, :T]) for row, T in zip(x, lengths, strict=True)]
        assert torch.allclose(task.answer(x, lengths), torch.cat(alone), atol=1e-6)
        assert torch.allclose(together, (torch.cat(alone) - y).square().mean(), atol=1e-6)
        garbled = x.masked_fill((torch.arange(x.shape[1]) >= lengths[:, None])[..., None], 7.0)
        assert torch.equal(task.answer(garbled, lengths), task.answer(x, lengths))
        network.train()
        assert torch.equal(task.answer(garbled, lengths), task.answer(x, lengths))


def test_batch_norm_statistics_leave_padding_out(config, tmp_path):
    cfg = config(
        "experiment=csv", f"data.path={table(tmp_path / 'table.csv')}", "recipe.batch_norm=before", "model.num_layers=1"
    )
    data, network = instantiate(cfg.data), instantiate(cfg.model)
    data.setup()
    task = Classification(network, instantiate(cfg.task.schedule), 0, 2, 2)

    class Trainer:
        datamodule = data

    task._trainer = Trainer()
    task.recalibrate()
    layer = network.layers[0]
    x, _, lengths = data.examples(TRAIN)
    z = torch.cat([row[:T] for row, T in zip(x, lengths, strict=True)]) @ layer.weight_ih.T + layer.bias
    assert torch.allclose(layer.norm.running_mean, z.mean(0), atol=1e-5)


def test_killed_and_started_again_padded_sequences_end_with_the_same_bits(config, tmp_path, monkeypatch):
    words = [*TINY[:1], *TINY[3:], "trainer.max_updates=12", "trainer.val_every=5", "recipe.dropout=0.2"]
    words += ["experiment=csv", f"data.path={table(tmp_path / 'table.csv')}"]
    undisturbed = config(*words, f"machine.runs={tmp_path / 'undisturbed'}")
    train(undisturbed)
    cfg = config(*words, "machine.checkpoint_seconds=0")
    for method, update in (("training_step", 3), ("validation_step", 5), ("on_train_batch_end", 9)):
        kill_at(monkeypatch, method, update)
        with pytest.raises(Killed):
            train(cfg)
    assert train(cfg)["status"] == "finished" and outcome(cfg) == outcome(undisturbed)


def test_a_run_of_other_data_is_made_anew(config, tmp_path):
    path = table(tmp_path / "table.csv")
    cfg = config("experiment=csv", f"data.path={path}", *TINY)
    first = train(cfg)
    assert train(cfg) == first
    path.write_text(path.read_text().replace("s9", "s99"))
    assert digests.of(cfg.data) != first["data"]["digest"]
    assert train(cfg)["data"]["digest"] == digests.of(cfg.data)
    assert (folder_of(cfg) / "earlier" / "1" / "run.json").exists()


def test_data_that_change_while_a_run_is_made_end_in_no_record(config, tmp_path, monkeypatch):
    path = table(tmp_path / "table.csv")
    cfg = config("experiment=csv", f"data.path={path}", *TINY)
    ends = Regression.on_test_start

    def changed(task) -> None:
        path.write_text(path.read_text() + "s0,1,1,,up,train\n")
        ends(task)

    monkeypatch.setattr(Regression, "on_test_start", changed)
    with pytest.raises(UserError, match="changed while it was trained"):
        train(cfg)
    assert not list(tmp_path.rglob("run.json"))


def test_batches_are_the_same_where_the_examples_have_moved(data):
    here, moved = data("data.split=part"), data("data.split=part")
    moved.move()  # as to a GPU
    for found in (
        lambda data: [data.train_batch(update) for update in (0, 5)],
        lambda data: list(data.val_dataloader()),
    ):
        for one, other in zip(found(here), found(moved), strict=True):
            assert len(one) == 3 and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_digest_of_a_folder_is_of_its_csv_files(tmp_path):
    (tmp_path / "b.csv").write_text("1")
    one = digests.csv_files(str(tmp_path))
    assert one == digests.csv_files(str(tmp_path / "b.csv"))
    (tmp_path / "notes.txt").write_text("1")
    assert digests.csv_files(str(tmp_path)) == one
    (tmp_path / "a.csv").write_text("2")
    assert digests.csv_files(str(tmp_path)) != one
    assert digests.csv_files(str(tmp_path / "none")) is None and digests.csv_files(None) is None


@pytest.mark.parametrize("kind", series.KINDS)
def test_made_up_series_are_the_same_and_ask_what_they_say(kind, tmp_path):
    x, y = series.KINDS[kind](np.random.default_rng(0), 2000)
    again, _ = series.KINDS[kind](np.random.default_rng(0), 2000)
    assert np.array_equal(x, again) and x.shape[:2] == (2000, series.T)
    if kind == "long":
        assert np.array_equal(y, (x[..., 0] * x[..., 1]).sum(1)) and (x[:, :20, 1].sum(1) == 1).all()
    if kind == "slow":  # least squares through all steps, and through the last ten alone
        errors = [np.mean((line(x[:, -n:, 0], n) - y) ** 2) / y.var() for n in (series.T, 10)]
        assert errors[0] < 0.05 < 1 < errors[1]
    if kind == "plain":
        assert np.corrcoef(x[:, -1, 0], y)[0, 1] > 0.8


def line(x: np.ndarray, n: int) -> np.ndarray:
    """The line through (B, n), ten steps on."""
    slope, level = np.polyfit(np.arange(n), x.T, 1)
    return slope * (n + 9) + level


def test_the_published_runs_read_the_series_that_the_script_writes(tmp_path, monkeypatch):
    path = files.ROOT / "scripts" / "make_series.py"
    spec = importlib.util.spec_from_file_location("make_series", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(sys, "argv", ["make_series", str(tmp_path)])
    assert script.main() == 0
    for signature, label in milestones.signatures("own_series").items():
        entry = record.read(files.ROOT / "results" / "runs" / signature)
        kind = label.partition(",")[0]
        assert entry["data"]["digest"] == digests.csv_files(str(tmp_path / f"{kind}.csv")), label
        assert entry["data"]["counts"] == list(series.COUNTS.values())
