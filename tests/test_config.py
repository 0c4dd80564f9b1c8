"""Configs: every model goes with every experiment, and a run is known by its signature."""

import pytest
import torch
from hydra.errors import ConfigCompositionException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from indrnn import configs, files
from indrnn.errors import UserError

CONF = files.ROOT / "conf"
EXPERIMENTS = sorted(
    p.relative_to(CONF / "experiment").with_suffix("").as_posix() for p in CONF.glob("experiment/**/*.yaml")
)
MODELS = sorted(p.stem for p in CONF.glob("model/*.yaml"))
OF_THE_PAPERS = [name for name in EXPERIMENTS if "/" not in name and name != "csv"]  # csv has no published budget
SCHEDULES = sorted(p.stem for p in CONF.glob("schedule/*.yaml"))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_model_builds_in_every_experiment(config, experiment, monkeypatch):
    monkeypatch.setenv("INDRNN_DATA", "nowhere")
    for model in MODELS:
        cfg = config(f"experiment={experiment}", f"model={model}")
        with torch.device("meta"):
            task = instantiate(cfg.task, network=instantiate(cfg.model))
        data = instantiate(cfg.data)
        tokens = torch.zeros(3, 2, dtype=torch.long, device="meta")
        x = tokens if task.carries_state else torch.empty(3, 2, data.input_size, device="meta")
        y, _ = task.network(x)
        assert y.shape == (3, 2, data.output_size)
        assert task.max_updates == cfg.trainer.max_updates


@pytest.mark.parametrize("experiment", OF_THE_PAPERS)
def test_profiles_cut_the_budget_of_their_own_experiment(config, experiment):
    """``fast/b`` that inherits ``a`` of another folder would have the published budget."""
    paper, fast, quick = (config(f"experiment={profile}{experiment}") for profile in ("", "fast/", "quick/"))
    assert fast.trainer.max_updates <= paper.trainer.max_updates / 10
    assert quick.trainer.max_updates <= 1000
    assert fast.data._target_ == quick.data._target_ == paper.data._target_


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_leave_the_model_alone_and_the_machine_out(experiment):
    text = (CONF / "experiment" / f"{experiment}.yaml").read_text()
    assert "model" not in OmegaConf.create(text)
    for word in ("${machine", "${logger", "${hydra:", "${now:", "${oc.env:"):
        assert word not in text


@pytest.mark.parametrize("experiment", ["quick/adding", *(name for name in EXPERIMENTS if "/" not in name)])
def test_every_schedule_goes_with_every_experiment(config, experiment):
    for name in SCHEDULES:
        cfg = config(f"experiment={experiment}", f"schedule@recipe.schedule={name}")
        assert instantiate(cfg.task.schedule).rate(0) > 0


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_choose_a_schedule_and_leave_its_words_alone(experiment):
    """What one says of its own schedule would be an unknown word for any other."""
    recipe = OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml").get("recipe") or {}
    assert "schedule" not in recipe


def test_signature_sees_what_a_run_is_and_nothing_else(config):
    def of(*overrides):
        return configs.signature(configs.signed(config("experiment=quick/adding", *overrides)))

    same = [of(), of("machine=gpu"), of("logger=wandb", "logger.name=x"), of("trainer.max_time=60"), of("seed=0")]
    assert len(set(same)) == 1 and len(same[0]) == 12
    other = [of("seed=1"), of("model=lstm"), of("data.seq_len=200"), of("recipe.gamma=3"), of("trainer.max_updates=2")]
    assert len({*same, *other}) == 6


def test_signature_is_canonical():
    one = {"b": 2, "a": {"y": None, "x": [1, True, "s"]}}
    other = {"a": {"x": [1.0, True, "s"]}, "b": 2.0, "c": None}
    assert configs.signature(one) == configs.signature(other)
    assert configs.signature({"a": True}) != configs.signature({"a": 1})


@pytest.mark.parametrize(
    "override",
    ["data.seq_lenn=3", "recipe.gama=1", "model.num_layer=3", "trainer.max_update=1", "trianer.max_updates=1"],
)
def test_a_mistyped_key_is_refused(config, override):
    with pytest.raises(ConfigCompositionException, match="Could not override"):
        config("experiment=quick/adding", override)


def test_a_convolution_is_one_word_and_another_run(config):
    plain, other = config("experiment=quick/adding"), config("experiment=quick/adding", "+model.kernel_size=3")
    network = instantiate(other.model)
    assert [layer.weight_ih.shape[1] for layer in network.layers] == [3 * 2, 3 * other.recipe.hidden_size]
    assert configs.signature(configs.signed(plain)) != configs.signature(configs.signed(other))


@pytest.mark.parametrize(
    "override, words",
    [
        ("data.seq_len=0", "seq_len must be"),
        ("data.batch_size=0", "batch_size must be"),
        ("model.hidden_size=0", "hidden_size must be"),
        ("model.num_layers=0", "num_layers must be"),
        ("recipe.gamma=0", "gamma must be above 0"),
        ("recipe.gamma=-1", "gamma must be above 0"),
        ("recipe.learning_rate=0", "learning_rate must be"),
        ("recipe.dropout=1", "dropout must be"),
        ("trainer.max_updates=0", "max_updates must be"),
        ("trainer.val_every=0", "val_every must be"),
        ("recipe.weight_decay=-1", "weight_decay must"),
    ],
)
def test_values_that_make_no_sense_are_refused(config, override, words):
    from indrnn.training.run import train

    with pytest.raises(Exception, match=words) as caught:
        train(config("experiment=quick/adding", override))
    assert isinstance(caught.value.__cause__ or caught.value, UserError)
