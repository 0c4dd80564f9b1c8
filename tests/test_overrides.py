"""A word that decides nothing is refused by name, and those that are in use are not."""

import pytest

from indrnn import configs
from indrnn.errors import UserError
from indrnn.tables import milestones, plan

DIGITS, TEXT = "experiment=quick/smnist", "experiment=quick/ptb_char"


def check(*overrides: str) -> None:
    configs.refuse_unread(configs.build(overrides), overrides)


@pytest.mark.parametrize(
    "override, near",
    [
        ("+recipe.gama=3", "recipe.gamma"),
        ("++recipe.droput=0.3", "recipe.dropout"),
        ("+trainer.max_update=3", "trainer.max_updates"),
        ("+machine.thread=2", "machine.threads"),
        ("+sed=3", "seed"),
        ("+gamma=3", "recipe.gamma"),
        ("+trianer.max_updates=3", "trainer.max_updates"),
        ("+schedule=constant", "recipe.schedule"),
    ],
)
def test_a_new_word_that_nothing_reads_is_refused_with_the_nearest(override, near):
    with pytest.raises(UserError, match=f"reads.*did you mean {near}"):
        check(DIGITS, override)


@pytest.mark.parametrize(
    "overrides",
    [
        (DIGITS, "model=lstm", "recipe.dropout=0.3"),
        (DIGITS, "model=lstm", "recipe.num_layers=2"),
        (DIGITS, "model=gru", "recipe.batch_norm=null"),
        (DIGITS, "model=irnn", "recipe.gamma=3"),
        (DIGITS, "model=rnn_tanh", "recipe.last_layer_near_one=false"),
        (DIGITS, "model=dense_indrnn", "recipe.dropout=0.3"),
        (DIGITS, "model=dense_indrnn", "recipe.hidden_size=64"),
        (DIGITS, "model=res_indrnn", "recipe.num_layers=21"),
        (DIGITS, "model.dropout=0.3", "recipe.dropout=0.3"),
        (DIGITS, "model=lstm", "~recipe.dropout"),
        (DIGITS, "+dynamic@recipe.dynamic=rms"),
        (TEXT, "model=dense_indrnn", "recipe.hidden_size=64"),
        (TEXT, "model=indrnn", "recipe.last_size=64"),
    ],
    ids=" ".join,
)
def test_a_word_that_this_model_does_not_read_is_refused(overrides):
    with pytest.raises(UserError, match="reads no recipe"):
        check(*overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        (DIGITS, "model=lstm", "recipe.hidden_size=64", "recipe.learning_rate=1", "model.num_layers=2"),
        (DIGITS, "model=res_indrnn", "recipe.dropout=0.3", "recipe.last_layer_near_one=false"),
        (DIGITS, "model=dense_indrnn", "recipe.gamma=3", "recipe.batch_norm=before", "+recipe.bound=1"),
        (DIGITS, "+recipe.last_layer_near_one=false"),  # as it stands in published records
        (DIGITS, "schedule@recipe.schedule=plateau", "recipe.schedule.patience=3", "recipe.weight_decay=0"),
        (DIGITS, "clip@trainer=norm", "trainer.max_time=60", "machine=gpu", "machine.threads=2", "logger=csv"),
        (TEXT, "+dynamic@task.dynamic=rms", "model=lstm", "recipe.embedding_size=32", "recipe.tied=true"),
        ("experiment=fast/ntu_cs", "recipe.patience=10"),  # a row's, whose schedule at paper reads it
    ],
    ids=" ".join,
)
def test_a_word_that_is_read_is_not_refused(overrides):
    check(*overrides)


def test_the_milestones_say_nothing_in_vain():
    """Of the tables, ``plan`` checks it."""
    for name in milestones.names():
        for run in milestones.load(name).runs:
            check(*run.overrides)


def test_a_word_for_all_rows_of_a_table_is_refused_where_one_does_not_read_it():
    with pytest.raises(UserError, match="irnn .* reads no recipe.dropout"):
        plan.runs(["table1_mnist"], "quick", extra=["recipe.dropout=0.3"])


def test_the_last_layer_is_near_one_where_nothing_else_is_said(config):
    assert config(DIGITS).recipe.last_layer_near_one is None and config(DIGITS).model.last_layer_near_one is True
    assert config(DIGITS, "recipe.last_layer_near_one=false").model.last_layer_near_one is False
    published = (config(DIGITS, f"{plus}recipe.last_layer_near_one=false") for plus in ("", "+"))
    assert len({configs.signature(configs.signed(cfg)) for cfg in published}) == 1
