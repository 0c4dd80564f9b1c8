"""README, docs and results/README.md: their commands run or compose, their snippets run, their links lead somewhere."""

import re
import shlex
import subprocess
import sys

import pages
import pytest
import torch
from hydra.errors import ConfigCompositionException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from pages import PAGES, name

from indrnn import configs, files
from indrnn.data.stand_in.recordings import Recordings
from indrnn.errors import UserError
from indrnn.tables import queue

# Pages whose every step needs the one before it: these tests walk through them from top to bottom.
WALKED = {"docs/own_data.md": "test_own_data.py"}
WALKED |= {f"docs/add_a_{what}.md": "test_add_pages.py" for what in ("row", "task", "model")}
COMMANDS = [c for page in PAGES if name(page) not in WALKED for c in pages.commands(name(page))]
TRAIN = (".venv/bin/python -m indrnn.train ", "PYTHONPATH=src python -m indrnn.train ")
WANDB = ".venv/bin/wandb "
REPRODUCE = "python scripts/reproduce.py "
SPOKEN = sorted({words for page in PAGES for words in re.findall(r"`(make [^`\n]*)`", page.read_text("utf-8"))})
SNIPPETS = [fence for fence in pages.fences("python") if fence.page not in WALKED]
SKELETON = "S001C001P001R001A001.skeleton"
each_page = pytest.mark.parametrize("page", PAGES, ids=name)


def test_there_are_commands():
    assert "make test" in COMMANDS and "make reproduce-table" in COMMANDS and len(COMMANDS) > 30
    assert len(SNIPPETS) >= 6 and len(SPOKEN) > 10


# Commands


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith(TRAIN)])
def test_training_commands_compose_and_build(config, command, monkeypatch):
    monkeypatch.setenv("INDRNN_DATA", "nowhere")
    words = shlex.split(command.partition(" -m indrnn.train ")[2])
    if "-m" in words:
        words = [re.sub(r"=([^,\[]*),.*", r"=\1", word) for word in words if word != "-m"]
    words = [word for word in words if not word.startswith("hydra")]
    cfg = config(*words)
    configs.refuse_unread(cfg, words)
    with torch.device("meta"):
        task = instantiate(cfg.task, network=instantiate(cfg.model))
    assert task.max_updates == cfg.trainer.max_updates and instantiate(cfg.data).batch_size == cfg.data.batch_size


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith(REPRODUCE)])
def test_tables_without_make_can_be_planned(command):
    words = shlex.split(command.removeprefix("python "))
    done = subprocess.run([sys.executable, *words, "--plan"], cwd=files.ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and " runs: " in done.stdout, done.stderr


@pytest.mark.parametrize("command", sorted({c for c in COMMANDS if c.startswith("make ")} | set(SPOKEN)))
def test_make_commands_exist(command):
    done = subprocess.run([*shlex.split(command), "--dry-run"], cwd=files.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_commands_of_wandb_are_its_own():
    said = {tuple(c.removeprefix(WANDB).split()[:1]) for c in COMMANDS if c.startswith(WANDB)}
    assert said == {("leet",), ("sweep",), ("agent",)}
    for (word,) in said:
        done = subprocess.run([sys.executable, "-m", "wandb", word, "--help"], capture_output=True, text=True)
        assert done.returncode == 0 and f"Usage: python -m wandb {word} " in done.stdout


def test_other_commands_are_known():
    others = [c for c in COMMANDS if not c.startswith(("make ", WANDB, *TRAIN, REPRODUCE))]
    assert others == []


def test_every_fence_is_of_a_kind_that_is_tested():
    for page in PAGES:
        kinds = re.findall(r"^```(\w*)\n.*?^```", page.read_text("utf-8"), re.S | re.M)
        assert set(kinds) <= {"sh", "python", "text"} or name(page) in WALKED, page
    assert {fence.page for fence in pages.fences("text")} <= {
        "README.md",
        *WALKED,
    }  # test_readme.py compares what these show


OPTIONS = re.findall(r"^\| (`.*?) \| (.*) \|$", (files.ROOT / "docs/options.md").read_text("utf-8"), re.M)
WORDS = {tuple(re.findall(r"`([^`]+)`", words)): choices for words, choices in OPTIONS if "=" in words}
PLACES = ("quick/adding", "quick/pmnist", "quick/ptb_char", "quick/ntu_cs model=dense_indrnn")


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_the_words_of_a_run_are_words_of_some_experiment(config, words):
    """A word with a value composes and is read; a word that ends in = is there to be given one."""
    for word in words:
        assert any(takes(config, f"experiment={place}".split(), word) for place in PLACES), word


def takes(config, where: list[str], word: str) -> bool:
    if word.endswith("="):
        group, (node, _, key) = word.rstrip("=").partition("@")[0], word.rstrip("=").rpartition(".")
        return (configs.CONF / group).is_dir() or key in (OmegaConf.select(config(*where), node) or ())
    try:
        configs.refuse_unread(config(*where, *word.split()), word.split())
    except (ConfigCompositionException, UserError):
        return False
    return True


@pytest.mark.parametrize("word", ["data.nothing=", "nothing=", "nothing.more=", "recipe.dropuot=1", "model.dropuot=1"])
def test_a_word_of_no_experiment_is_found(config, word):
    assert not any(takes(config, f"experiment={place}".split(), word) for place in PLACES)


@pytest.mark.parametrize("word, folder", [("experiment=", "experiment"), ("model=", "model")])
def test_the_choices_of_experiment_and_model_are_all_that_there_are(word, folder):
    said = set(re.findall(r"`(\w+)`", WORDS[(word,)]))
    assert said == {path.stem for path in (configs.CONF / folder).glob("*.yaml")}


def test_the_schedules_are_there():
    said = set(re.findall(r"`(\w+)`", WORDS[("schedule@recipe.schedule=",)]))
    assert said and said <= {path.stem for path in (configs.CONF / "schedule").glob("*.yaml")}


def test_scripts_that_are_spoken_of_take_what_is_said():
    spoken = {words for page in PAGES for words in re.findall(r"`(scripts/[^`\n]*)`", page.read_text("utf-8"))}
    assert spoken
    for path, *words in map(str.split, spoken):
        text = (files.ROOT / path).read_text("utf-8")
        assert all(f'"{word}"' in text for word in words if word.startswith("--")), path


# Snippets


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder that is not the repository, with what snippets read."""
    (tmp_path / SKELETON).write_bytes(Recordings().read(SKELETON))
    (tmp_path / "results").symlink_to(files.ROOT / "results")
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.:FutureWarning")  # torch.onnx.export of torch
@pytest.mark.parametrize("fence", SNIPPETS, ids=lambda fence: f"{fence.page}-{SNIPPETS.index(fence)}")
def test_snippets_run(elsewhere, fence):
    exec(fence.text, {})


def snippet(page: str, words: str) -> str:
    """The one snippet of a page that holds some words."""
    (found,) = [fence.text for fence in SNIPPETS if fence.page == page and words in fence.text]
    return found


@pytest.mark.parametrize("network", ["IndRNN", "LSTM"])
def test_the_drop_in_example_runs_before_and_after_the_swap(network):
    """As it stands, and with the commented line of nn.LSTM in place of the next one."""
    code = snippet("docs/layer.md", "nn.LSTM")
    if network == "LSTM":
        code = re.sub(r"# (rnn = torch\.nn\.LSTM.*)\nrnn = IndRNN.*", r"\1", code)
    names = {}
    exec(code, names)
    assert type(names["rnn"]).__name__ == network and names["loss"] < names["first"]


def test_the_layer_in_eight_lines_has_eight_and_gives_what_it_says():
    code, names = snippet("README.md", "IndRNN"), {}
    exec(code, names)
    assert len(code.splitlines()) <= 8
    assert names["output"].shape == (32, 100, 64) and names["h_n"].shape == (2, 32, 64)
    assert names["rnn"].bound == pytest.approx(2 ** (1 / 100)) and names["rnn"].layers[0].u.grad.any()


def test_the_layer_runs_with_torch_alone(tmp_path):
    """In a process of its own, outside of the repository, from a script that an own script could be."""
    gone = "import sys\nfor name in 'hydra omegaconf numba pytorch_lightning scipy matplotlib wandb onnx'.split():\n"
    (tmp_path / "mine.py").write_text(f"{gone}    sys.modules[name] = None\n{snippet('README.md', 'IndRNN')}")
    done = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("a slower one takes over") == 1


def test_the_example_of_skeletons_runs(elsewhere):
    names = {}
    exec(snippet("docs/skeletons.md", "read_skeleton"), names)
    assert names["sequence"].shape[1:] == (2, 25, 3) and len(names["bodies"]) >= 1


def test_the_example_of_a_published_network_runs(elsewhere):
    names = {}
    exec(snippet("docs/options.md", "indrnn.load"), names)
    assert len(names["largest"]) == 2 and 0.99 < max(names["largest"]) <= 2 ** (1 / 1000) + 1e-6
    assert [len(steps) for steps in names["steps"].values()] == [128, 128] and names["answer"].shape == (3, 1)


# Links


def test_pages_that_are_walked_through_are():
    for page, test in WALKED.items():
        stem = page.removeprefix("docs/").removesuffix(".md")
        assert (files.ROOT / page).exists() and f'"{stem}' in (files.ROOT / "tests" / test).read_text("utf-8")


@each_page
def test_links_lead_somewhere(page):
    lost = [link for link in pages.links(page) if not leads_somewhere(page, link)]
    assert not lost


def leads_somewhere(page, link) -> bool:
    path, anchor = pages.target(page, link)
    return path.exists() and (not anchor or path.suffix != ".md" or anchor in pages.anchors(path))


def test_a_lost_link_and_a_lost_anchor_are_found():
    readme = PAGES[0]
    assert leads_somewhere(readme, "docs/speed.md#on-a-gpu") and leads_somewhere(readme, "#limits")
    assert not leads_somewhere(readme, "docs/sped.md") and not leads_somewhere(readme, "docs/speed.md#on-a-cpu")


def test_every_page_of_docs_is_linked_from_the_readme():
    linked = {pages.target(PAGES[0], link)[0] for link in pages.links(PAGES[0])}
    assert {page for page in PAGES if page.parent.name == "docs"} <= linked


def test_every_published_page_is_linked_from_the_index_of_results():
    index = files.ROOT / "results/README.md"
    linked = {pages.target(index, link)[0] for link in pages.links(index)}
    found = {path for path in index.parent.rglob("*.md") if "runs" not in path.relative_to(index.parent).parts}
    assert found - {index} <= linked


# The paper beside the code


def test_every_line_of_code_beside_the_paper_stands_where_its_link_says():
    text = (files.ROOT / "docs/equations.md").read_text("utf-8")
    assert len(pages.EQUATION.findall(text)) >= 25
    assert "#L" not in pages.EQUATION.sub("", text), "a link to a line that quotes no code, or not as the others do"
    assert pages.renumbered(text) == text, "run `.venv/bin/python tests/pages.py`"
    for _, label, _, path, _ in pages.EQUATION.findall(text):
        assert path.endswith(f"/{label}")


def test_code_that_is_gone_or_stands_twice_is_told():
    row = "`{}` | [layer.py:1](../src/indrnn/layers/layer.py#L1)"
    with pytest.raises(ValueError, match="has 0 lines with `gone = 1`"):
        pages.renumbered(row.format("gone = 1"))
    with pytest.raises(ValueError, match="lines with `x`: quote one"):
        pages.renumbered(row.format("x"))
    assert "layer.py:36](../src/indrnn/layers/layer.py#L36)" in pages.renumbered(
        row.format("return math.exp(math.log(gamma) / seq_len)")
    )


# What a page says and a file decides


def test_the_order_of_the_queue_is_the_one_that_scale_tells():
    text = " ".join((files.ROOT / "docs/scale.md").read_text("utf-8").split())
    assert f"the order ({queue.ORDER.removeprefix('Order: ').rstrip('.')})" in text


@pytest.mark.parametrize(
    "said, path, code",
    [
        ("1e-12 in float64, 2e-5 in float32", "tests/recurrence/recurrence_samples.py",
         'torch.float64: {"rtol": 1e-12, "atol": 1e-12}, torch.float32: {"rtol": 2e-5, "atol": 2e-5}'),
        ("1e-10 in float64, 1e-4 in float32", "tests/recurrence/test_batch_normed.py",
         'torch.float64: {"rtol": 1e-10, "atol": 1e-10}, torch.float32: {"rtol": 1e-4, "atol": 1e-4}'),
        ("1e-6 of the value", "tests/training/test_eval_factor.py", "metrics == pytest.approx(found[0], rel=1e-6)"),
        ("losses, gradients | 1e-5", "tests/training/test_compiled.py", "steps(eager, False)[0], rtol=1e-5, atol=1e-5"),
        ("without dropout | 1e-5", "tests/training/test_ranks.py", "TOLERANCE = dict(atol=1e-5, rtol=1e-5)"),
        ("5 standard deviations", "src/indrnn/again.py", "TOLERANCE = 5.0"),
        ("0.1% of its value", "src/indrnn/again.py", "ROUNDING = 1e-3"),
    ],
)  # fmt: skip
def test_what_numerics_promises_is_what_is_tested(said, path, code):
    assert said in (files.ROOT / "docs/numerics.md").read_text("utf-8") and pages.lines_of(path, code)
