"""Bad words of all kinds, each answered with one sentence: in this process, and a few in processes of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import CompactHydraException

from indrnn import configs, files, provenance
from indrnn.errors import UserError
from indrnn.tables import milestones, plan, schema
from indrnn.train import run
from indrnn.training.checks import seconds

WORDS = """
seed=-1 seed=4294967296 seed=1.5 seed=abc seed=true seed=null seed=nan seed= ~seed +sed=3
machine.threads=0 machine.threads=1000000000000 machine.threads=two machine.threads=1.5 machine.threads=null
~machine.threads +machine.thread=2
machine.devices=[1] machine.devices=0 machine.accelerator=gpus machine.accelerator=null
machine.checkpoint_seconds=-1 machine.checkpoint_seconds=nan machine.progress=maybe machine.graph=maybe
machine.eval_factor=0 machine.together=0 machine.compile=fast machine.runs= machine.runs=null
machine=gpus machine=null machine=5 ~machine ~logger logger=null logger=tensorboard
trainer.max_time=1x trainer.max_time=-5 trainer.max_time=soon trainer.max_time=nan trainer.max_time=1.2.3
trainer.max_updates=0 trainer.max_updates=1.5 trainer.max_updates=null trainer.val_every=often ~trainer.clip
trainer.clip=-1 trainer.clip=nan trainer.clip=ten trainer.clip_by=values trainer.precision=16
trainer=null trainer=5 +trainer.max_update=3 trainer.max_update=3
data.seq_len=0 data.seq_len=long data.seq_len=null data.seq_len=99999999999999999999 data.batch_size=1e2
data.input_size=3 +data.seq_length=3 ~data.seq_len ~data
model=lstmm model=null model._target_=os.nowhere ~model._target_ +model.dropuot=1
model.activation=rellu model.activation=3 model.num_layers=0 model.num_layers=2.5 model.hidden_size=-3
model=dense_indrnn&model.blocks=3 model=dense_indrnn&model.blocks=[] model=res_indrnn&model.num_layers=4
model.activation=leaky_relu&+model.negative_slope=-1 +model.negative_slope=0.1
recipe.batch_norm=sideways recipe.gamma=0 recipe.gamma=nan recipe.gamma=big recipe.dropout=1 recipe.dropout=nan
recipe.init_std=-1 +recipe.bound=0 recipe.weight_decay=nan recipe.last_layer_near_one=maybe +recipe.gama=1 recipe=5
recipe.learning_rate=0 recipe.learning_rate=inf recipe.learning_rate=fast recipe.schedule=constant ~recipe.gamma
recipe.schedule.warmup=2 +recipe.schedule.warmpu=3 schedule@recipe.schedule=constnat
task=null task.decay_u=maybe task._target_=indrnn.tasks.Regresion experiment=quick/ading
experiment=quick/smnist&data.counts=5 experiment=quick/smnist&data.permutation_seed=-1
experiment=quick/ptb_char&task.u_normal=0.4 experiment=quick/ptb_char&task.u_normal=[1]
experiment=quick/ptb_char&recipe.tied=maybe experiment=quick/ptb_char&recipe.embedding_range=-1
experiment=quick/ptb_char&task.metric=bits experiment=quick/ntu_cs&data.rotation=400
""".split()
TABLE = (configs.CONF / "table" / "figure2_adding.yaml").read_text()


@pytest.fixture
def said(tmp_path):
    """said("seed=-1") -> the one sentence about a run with these words."""

    def sentence(*words: str) -> str:
        if not any(word.strip("~").partition("=")[0] == "machine" for word in words):
            words = (f"machine.runs={tmp_path / 'runs'}", "machine.progress=false", *words)
        if not any("logger" in word for word in words):
            words = ("logger=csv", *words)
        with pytest.raises((UserError, CompactHydraException)) as caught:
            run(configs.build(words), list(words))
        text = str(caught.value)
        assert text.strip() and "\n" not in text and "Traceback" not in text
        return text

    return sentence


def test_there_are_enough_words():
    assert len(set(WORDS)) >= 60


@pytest.mark.parametrize("words", WORDS)
def test_a_bad_word_is_answered_with_a_sentence_that_names_it(said, words, tmp_path):
    *_, word = words.split("&")
    name = word.lstrip("+~").partition("=")[0].rpartition("@")[2]
    assert name.rpartition(".")[2] in said(*words.split("&"))
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize(
    "words, told",
    [
        ("machine.devices=[1]", "CUDA_VISIBLE_DEVICES"),
        ("logger=null", "csv"),
        ("~logger", "csv"),
        ("recipe.schedule=constant", "schedule@recipe.schedule="),
        ("+model.dropuot=1", "did you mean dropout?"),
        ("model.activation=rellu", "leaky_relu"),
        ("trainer.max_time=1x", "1h30m"),
        ("seed=4294967296", "2^32"),
        ("recipe.gamma=nan", "model.gamma must be a number, not nan"),
    ],
)
def test_and_says_what_to_do(said, words, told):
    assert told in said(words)


@pytest.mark.parametrize(
    "time, expected", [(None, None), (90, 90), ("90", 90), (0, 0), ("1m", 60), ("2h", 7200), ("1h30m", 5400),
                       ("1h 2m 3s", 3723), ("0.5h", 1800), (1.5, 1.5)]
)  # fmt: skip
def test_a_time_has_units(time, expected):
    assert seconds(time) == expected


def file(path: Path) -> str:
    path.write_text("")
    return "Not a directory|File exists"


def under_a_file(path: Path) -> str:
    path.parent.rmdir()
    return file(path.parent)


def read_only(path: Path) -> str:
    if os.geteuid() == 0:
        pytest.skip("nothing is read-only for root")
    path.mkdir(mode=0o500)
    return "Permission denied"


def broken_link(path: Path) -> str:
    path.symlink_to(path.parent / "nowhere" / "deep")
    path.with_name("nowhere").write_text("")
    return "File exists|Not a directory"


@pytest.mark.parametrize("make", [file, under_a_file, read_only, broken_link])
def test_a_folder_that_is_none_is_named(said, tmp_path, make):
    path = tmp_path / "own" / "runs"
    path.parent.mkdir()
    reasons = make(path).split("|")
    text = said(f"machine.runs={path}")
    assert str(path) in text and any(reason in text for reason in reasons)


def test_a_folder_in_the_place_of_a_file_is_named(said, tmp_path):
    words = (f"machine.runs={tmp_path / 'runs'}", "machine.progress=false", "logger=csv")
    signature = configs.signature(configs.signed(configs.build(words)))
    (tmp_path / "runs" / signature / "lock").mkdir(parents=True)
    assert f"{signature}/lock: Is a directory." in said()


def test_a_data_folder_that_is_a_file_is_named(said, tmp_path, monkeypatch):
    (tmp_path / "data").write_text("")
    monkeypatch.setenv("INDRNN_DATA", str(tmp_path / "data"))
    for experiment in ("smnist", "ptb_char", "ntu_cs"):
        assert str(tmp_path / "data") in said(f"experiment={experiment}")


@pytest.mark.parametrize(
    "words, told",
    [
        (("logger=wandb", "+logger.tagz=1"), "did you mean tags?"),
        (("logger=wandb", "logger.group=[1]"), "logger.group must be"),
        (("logger=wandb", "logger.column=[1]"), "logger.column must be"),
        (("logger=wandb", "logger.artifact_below=few"), "logger.artifact_below must be"),
        (("logger=wandb", "logger.save_dir=null"), "logger.save_dir must be"),
    ],
)
def test_words_of_wandb(said, monkeypatch, words, told):
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert told in said(*words)


def test_an_unknown_mode_of_wandb(said, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    assert said("logger=wandb").startswith("WANDB_MODE must be one of online, offline")


def test_without_git_or_with_one_that_does_not_start_the_code_is_unknown(tmp_path, monkeypatch):
    monkeypatch.delenv("INDRNN_COMMIT", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (provenance.code()["commit"], provenance.code()["dirty"]) == ("unknown", True)
    (tmp_path / "git").write_text("no program")
    (tmp_path / "git").chmod(0o700)
    assert provenance.code()["commit"] == "unknown"


BROKEN = {
    "half": (TABLE[: len(TABLE) // 2], "line "),
    "nothing": ("", "title"),
    "a list": ("[1, 2]", "ListConfig"),
    "a word": ("abc", "abc"),
    "a tab": ("a:\n\tb: 1", "line 2"),
    "bytes": (b"\xff\xfe\x00", "0xff"),
    "twice": ("title: a\ntitle: b", "title"),
    "another key": (TABLE + "\nfoo: 1\n", "foo"),
    "another kind": (TABLE.replace("seeds: [0, 1, 2]", "seeds: [a]"), "'a'"),
    "nobody": (TABLE.replace("row: indrnn\n", "row: nobody\n"), "nobody"),
    "an interpolation": (TABLE.replace("title: Adding problem", "title: ${nowhere}"), "nowhere"),
}


@pytest.mark.parametrize("kind, load", [("table", schema.load_table), ("milestones", milestones.load)])
@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_file_of_conf_is_named(tmp_path, monkeypatch, kind, load, how):
    content, told = BROKEN[how]
    (tmp_path / kind).mkdir()
    path = tmp_path / kind / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setattr(configs, "CONF", tmp_path)
    with pytest.raises(UserError) as caught:
        load("mine")
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    assert told in text or kind == "milestones"


def test_overrides_of_a_table_that_do_not_fit_are_named(tmp_path, monkeypatch):
    shutil.copytree(configs.CONF, tmp_path / "conf")
    monkeypatch.setattr(configs, "CONF", tmp_path / "conf")
    (tmp_path / "conf" / "table" / "mine.yaml").write_text(TABLE.replace("data.seq_len=100", "data.seq_lenn=100"))
    with pytest.raises(UserError, match="seq_lenn"):
        plan.runs(["mine"], "quick")
    (tmp_path / "conf" / "experiment" / "quick" / "adding.yaml").write_text("data: [1")
    with pytest.raises(UserError, match="experiment=quick/adding"):
        plan.runs(["figure2_adding"], "quick")


@pytest.mark.parametrize("words", ["logger=null", "seed=4294967296", "model=lstm recipe.dropout=0.3"])
def test_a_process_ends_with_the_sentence(tmp_path, words):
    command = [sys.executable, "-m", "indrnn.train", f"machine.runs={tmp_path}", *words.split()]
    done = subprocess.run(command, cwd=files.ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    *_, word = words.split()
    assert word.lstrip("+").partition("=")[0] in done.stderr
