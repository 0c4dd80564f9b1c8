"""Language models and texts in small, for several files of tests."""

import random
from pathlib import Path

import torch
from hydra.utils import instantiate

from indrnn import configs
from indrnn.data.text import Text
from indrnn.tasks.language import LanguageModel

WORDS = ("bird", "cat", "dog", "fish", "ran", "sat", "the")  # with the end of line a vocabulary of 8
SIZES = (
    "data.level=word",
    "data.output_size=8",
    "data.seq_len=4",
    "data.batch_size=3",
    "data.offset=1",
    "data.eval_columns=[3,1]",
    "recipe.hidden_size=6",
    "recipe.embedding_size=5",
)
OF_MODEL = {
    "indrnn": ("recipe.num_layers=2",),
    "res_indrnn": ("model.num_layers=3",),
    "dense_indrnn": ("model.growth=2", "model.blocks=[2,1]"),
}


def own_text(folder: Path, words: tuple[str, ...] = WORDS) -> Path:
    """Lines of one to four words, every word among those of training: 200, 51 and 50 words."""
    rng = random.Random(0)
    folder.mkdir(exist_ok=True)
    for split, count in (("train", 200), ("valid", 51), ("test", 50)):
        drawn = [*words, *rng.choices(words, k=count - len(words))]
        lines = []
        while drawn:
            size = rng.randint(1, 4)
            lines.append(" ".join(drawn[:size]))
            drawn = drawn[size:]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return folder


def overrides(experiment: str, model: str, *more: str) -> list[str]:
    return [f"experiment={experiment}", f"model={model}", *SIZES, *OF_MODEL.get(model, ()), *more]


def task_of(experiment: str, model: str, *more: str) -> LanguageModel:
    """The same weights in every call."""
    cfg = configs.build(overrides(experiment, model, *more))
    torch.manual_seed(0)
    return instantiate(cfg.task, network=instantiate(cfg.model))


def text_of(source: Path, **changes) -> Text:
    sizes = {"seq_len": 4, "batch_size": 3, "seed": 0, "level": "word", "input_size": 5, "output_size": 8}
    data = Text(**sizes | {"source": str(source), "eval_columns": (3, 1)} | changes)
    data.setup()
    return data
