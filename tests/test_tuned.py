"""conf/tuned: every file says something of its own and belongs to a pair of experiment and model."""

import itertools
from collections import defaultdict

import pytest
from hydra import initialize_config_dir
from hydra.core.default_element import ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from indrnn import configs

CONF = configs.CONF
EXPERIMENTS = sorted(p.relative_to(CONF / "experiment").with_suffix("") for p in CONF.glob("experiment/**/*.yaml"))
MODELS = sorted(p.stem for p in CONF.glob("model/*.yaml"))
TUNED = {p.relative_to(CONF).with_suffix("").as_posix(): OmegaConf.load(p) for p in CONF.glob("tuned/**/*.yaml")}


@pytest.fixture(scope="module")
def defaults() -> list[list[ResultDefault]]:
    """Hydra's defaults list of every pair of experiment and model."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        return [
            loader.compute_defaults_list("config", [f"experiment={experiment}", f"model={model}"], RunMode.RUN)
            for experiment, model in itertools.product(map(str, EXPERIMENTS), MODELS)
        ]


@pytest.mark.parametrize("name", TUNED)
def test_a_tuned_file_says_something(name):
    assert set(TUNED[name]) - {"defaults"}, f"{name} only inherits"


def test_no_two_tuned_files_say_the_same():
    names = defaultdict(list)
    for name, content in TUNED.items():
        names[configs.signature(OmegaConf.to_container(content))].append(name)
    assert [same for same in names.values() if len(same) > 1] == []


def test_every_tuned_file_is_read_by_a_pair(defaults):
    """A name that fits no pair, such as family/ading_rival, would be passed over in silence."""
    assert set(TUNED) - {default.config_path for pair in defaults for default in pair.defaults} == set()


def test_every_word_that_is_stated_names_a_tuned_file(defaults):
    """The other half of the same mistake: ``override /kind: charcters``."""
    names = [f"_{name.rpartition('/')[2]}_" for name in TUNED]
    for group in ("problem", "kind", "model/family"):
        words = {pair.overrides.known_choices[group] for pair in defaults} - {None}
        assert words and all(any(f"_{word}_" in name for name in names) for word in words), words


def test_tuned_values_hold_for_their_pair_only(config):
    assert config("experiment=adding", "model=lstm").recipe.learning_rate == 2e-3
    assert config("experiment=adding", "model=gru").recipe.learning_rate == 2e-4
    assert config("experiment=adding", "model=indrnn").recipe.learning_rate == 2e-4
    assert config("experiment=adding", "model=lstm", "recipe.learning_rate=1").recipe.learning_rate == 1


def test_a_later_tuned_file_has_the_last_word(config):
    quick = config("experiment=quick/ptb_char", "model=lstm").recipe
    assert (quick.hidden_size, quick.embedding_range) == (113, 1.0)
    assert config("experiment=ptb_char", "model=lstm").recipe.hidden_size == 1734
    assert config("experiment=ptb_char", "model=rnn_tanh").recipe.hidden_size == 3457
    assert config("experiment=quick/adding", "model=irnn").recipe.learning_rate == 2e-4


def clip(config, *overrides):
    trainer = config(*overrides).trainer
    return trainer.clip_by, trainer.clip


def test_clip_is_the_models_but_for_the_adding_problem(config):
    assert clip(config, "experiment=fast/pmnist", "model=lstm") == ("norm", 1)
    assert clip(config, "experiment=fast/pmnist", "model=indrnn") == ("value", 10)
    assert clip(config, "experiment=fast/pmnist", "model=lstm", "clip@trainer=value") == ("value", 10)
    assert clip(config, "experiment=fast/pmnist", "model=lstm", "trainer.clip=3") == ("norm", 3)
    assert clip(config, "experiment=adding", "model=lstm") == ("value", 10)


@pytest.fixture
def mine(tmp_path, config):
    """mine(text, ...) -> the config of an experiment that somebody wrote outside conf/."""

    def build(text, *overrides):
        (tmp_path / "experiment").mkdir(exist_ok=True)
        (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}")
        return config(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine", *overrides)

    return build


def test_an_experiment_of_yours_that_inherits_one_of_ours_is_tuned_as_that(mine):
    cfg = mine("defaults: [/experiment/fast/pmnist]\nrecipe: {gamma: 3}\n", "model=irnn")
    assert (cfg.recipe.gamma, cfg.recipe.learning_rate, cfg.trainer.clip_by) == (3, 2e-4, "norm")


def test_an_experiment_of_yours_that_states_no_word_is_left_alone(mine):
    paper = OmegaConf.load(CONF / "experiment" / "adding.yaml")
    paper.defaults = [{"/schedule@recipe.schedule": "step"}]
    paper.recipe.learning_rate = 0.5
    for model in MODELS:
        cfg = mine(OmegaConf.to_yaml(paper), f"model={model}")
        assert (cfg.recipe.learning_rate, cfg.trainer.clip_by) == (0.5, "value")
