"""Runs of one's own beside each other: seeds of one config are a group; means, intervals, what differs, the curves."""

import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from indrnn import files, markdown_text
from indrnn.errors import UserError
from indrnn.run_groups import Group, by_metric, common, words
from indrnn.runs import Run, found, of, shown
from indrnn.studies.ablations import pairs
from indrnn.tables import verdict

PUBLISHED = files.ROOT / "results" / "runs"
MOST_PAIRS = 4  # groups that are all compared with each other; of more, each with the first
FEW = 5  # comparisons, of which chance is unlikely to decide one
SHOWN = 12  # differing keys of configs; another model has dozens
NODES = ("trainer", "recipe", "data")  # which others repeat: of several keys for one thing, that of these is shown


def main(names: Sequence[str], fit: Sequence[str], folder: Path) -> str:
    """Compare the runs that are named, and those that fit every word; a picture of their curves goes below ``folder``.

    Args:
        names: signatures, or how they begin; one that is not in ``folder`` may be published.
        fit: words, see ``runs.Run.fits``.

    Raises:
        UserError: nothing is asked for, there is no such run, or a beginning fits several.
    """
    if not names and not fit:
        raise UserError('Which runs? Say RUNS="<signature> <signature>" or WORDS="..."; `make runs` lists them.')
    runs = [named(name, folder) for name in names] + (found(folder, fit) if fit else [])
    if not runs:
        raise UserError(f"There is no run that fits {' '.join(fit)} in {shown(folder)}: `make runs` lists them.")
    return told(runs, folder)


def told(runs: Sequence[Run], folder: Path) -> str:
    """The page of runs, and where the picture of their curves lies."""
    try:
        path = draw(runs, folder)
        curves = f"Curves: {shown(path)}" if path else "There is no curve yet."
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        curves = "matplotlib is not installed here: the picture of the curves is left out."
    return f"{page(runs)}\n\n{curves}"


def named(name: str, folder: Path) -> Run:
    """The one run whose signature begins so, of ``folder`` or else published."""
    for place in (folder, PUBLISHED):
        there = [path for path in sorted(place.glob(f"{name}*")) if path.is_dir()] if name.isalnum() else []
        if len(there) > 1:
            raise UserError(f"{len(there)} runs of {shown(place)} begin with {name!r}: write more of the signature.")
        if there and (run := of(there[0])):
            return run
    raise UserError(f"There is no run {name!r} in {shown(folder)} or {shown(PUBLISHED)}: `make runs` lists them.")


def page(runs: Sequence[Run]) -> str:
    """What runs came to, as tables in Markdown that stand straight in a terminal; a section for each metric."""
    sections = [section(groups) for groups in by_metric(runs)]
    return "\n\n".join("\n".join(lines) for lines in sections)


def section(groups: list[Group]) -> list[str]:
    metric = groups[0].metric
    if not metric:
        lines = [f"{group.letter}: {words(group)}, {status(group)}" for group in groups]
        return ["Not validated yet:", *markdown_text.bullets(lines)]
    lower = "lower" if lower_is_better(metric) else "higher"
    for_all = common(groups)
    heads = ["", "run", f"val {metric}", f"test {metric}", "n", "seeds", "updates", "minutes"]
    rows = []
    for group in groups:
        seconds = math.fsum(run.seconds for run in group.runs) / len(group.runs)
        seeds, made = " ".join(str(run.seed) for run in group.runs), amount([run.updates for run in group.runs])
        cells = cell(group, "val"), cell(group, "test"), n(group), seeds, made, f"{seconds / 60:.1f}"
        rows.append([group.letter, words(group, for_all), *cells])
    lines = [f"All are {' '.join(for_all)}.", ""] if for_all else []
    lines += [*markdown_text.aligned(heads, rows), ""]
    many = any(len(group.runs) > 1 for group in groups)
    about = f"{metric}: {lower} is better{'; mean ± sample standard deviation over seeds, minutes of a run' * many}."
    lines += markdown_text.bullets([f"{about} Choose by val, report test."])
    return lines + (beside(groups, metric) if len(groups) > 1 else [])


def beside(groups: list[Group], metric: str) -> list[str]:
    """What differs in the configs of groups, and how far their test metrics are apart."""
    what, sign = ("ratio", "/") if metric == "mse" else ("difference", "-")
    rows = [[f"{b.letter} {sign} {a.letter}", *interval(b, a)] for a, b in couples(groups)]
    lines = ["", *differences(groups), ""]
    lines += markdown_text.aligned(["", f"test {metric}, {what} [95% interval]", "first is", "how"], rows)
    if len(rows) > FEW:
        lines += ["", f"There are {len(rows)} comparisons: at 95%, one in twenty is decided by chance."]
    return lines


def lower_is_better(metric: str) -> bool:
    return not metric.endswith("accuracy")


def cell(group: Group, split: str) -> str:
    """Such as ``0.51 ± 0.01``; of what has none, why."""
    sample = group.sample(split)
    if not sample.values:
        best = {run.metrics[name] for run in group.runs if (name := f"val/{group.metric}") in run.metrics}
        so_far = f"{min(best):.4g} so far" if split == "val" and best and len(group.runs) == 1 else ""
        return so_far or sample.reason
    return f"{sample.mean:.4g}{f' ± {sample.std:.2g}' if len(sample.values) > 1 else ''}"


def n(group: Group) -> str:
    done = len(group.values("test"))
    return f"{done}" if done == len(group.runs) else f"{done} of {len(group.runs)} ({status(group)})"


def status(group: Group) -> str:
    return ", ".join(dict.fromkeys(run.status for run in group.runs if run.status != "finished"))


def amount(counts: Sequence[int]) -> str:
    return f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"


def differences(groups: list[Group]) -> list[str]:
    """Every key that is not the same in all configs, with its values and whose they are.

    The nodes of a config repeat each other, as ``model.dropout`` does ``recipe.dropout``: one of them is shown.
    """
    keys = sorted({key for group in groups for key in group.config}, key=lambda key: (rank(key), key))
    found: dict[str, str] = {}
    for key in keys:
        whose: dict[str, list[str]] = {}
        for group in groups:
            whose.setdefault(plain(group.config.get(key)), []).append(group.letter)
        if len(whose) > 1:
            told = "; ".join(f"{value} ({brief(letters)})" for value, letters in whose.items())
            found.setdefault(f"{key.rpartition('.')[2]}: {told}", f"{key}: {told}")
    lines = list(found.values())
    few = lines[:SHOWN] + [f"and {len(lines) - SHOWN} more"] * (len(lines) > SHOWN)
    return ["What differs:", *markdown_text.bullets(few)]


def rank(key: str) -> int:
    node = key.partition(".")[0]
    return NODES.index(node) if node in NODES else len(NODES)


def plain(value: str | None) -> str:
    """A value as somebody types it: whole numbers without a point, classes without their modules."""
    if value is None:
        return "none"
    text = value.removesuffix(".0").strip('"')
    return text.rpartition(".")[2] if text.startswith(("indrnn.", "torch.")) else text


def brief(letters: Sequence[str]) -> str:
    return ", ".join(letters) if len(letters) < 6 else f"{letters[0]}, {letters[1]}, ... {letters[-1]}"


def couples(groups: list[Group]) -> Iterator[tuple[Group, Group]]:
    if len(groups) <= MOST_PAIRS:
        yield from itertools.combinations(groups, 2)
    else:
        yield from ((groups[0], group) for group in groups[1:])


def interval(ours: Group, other: Group) -> list[str]:
    """The difference of two groups, or the ratio of an mse, with its interval; what it says of ``ours``; how made.

    Paired where two seeds or more are finished in both, else Welch's.
    """
    for group in (ours, other):
        if reason := group.sample("test").reason:
            if not group.values("test") or not reason.startswith("incomplete"):
                return ["-", "undecided", f"{group.letter}: {reason}"]
    a, b = ours.values("test"), other.values("test")
    as_ratio = ours.metric == "mse" and min(*a.values(), *b.values()) > 0
    seeds = sorted(a.keys() & b.keys())
    if len(seeds) > 1:
        mean, low, high = pairs.paired([a[seed] for seed in seeds], [b[seed] for seed in seeds], as_ratio)
        how = f"paired, {len(seeds)} seeds"
    else:
        take, back = (math.log, math.exp) if as_ratio else (float, float)
        one, two = ([take(value) for value in values.values()] for values in (a, b))
        mean = back(math.fsum(one) / len(one) - math.fsum(two) / len(two))
        if min(len(one), len(two)) < 2:
            return [f"× {mean:.3g}" if as_ratio else f"{mean:+.3g}", "undecided", "one seed has no spread"]
        low, high = map(back, verdict.welch(one, two))
        how = "Welch, no seeds in common"
    text = f"× {mean:.3g} [{low:.3g}, {high:.3g}]" if as_ratio else f"{mean:+.3g} [{low:+.3g}, {high:+.3g}]"
    return [text, pairs.judge(low, high, 1.0 if as_ratio else 0.0, lower_is_better(ours.metric)), how]


def draw(runs: Sequence[Run], folder: Path) -> Path | None:
    """The curves of all groups as <folder>/compare/<hash of the signatures>.png; None where no run has one."""
    from indrnn import drawn_runs, style  # matplotlib takes a second to import

    sections = [groups for groups in by_metric(runs) if groups[0].metric]
    name = hashlib.sha256(" ".join(sorted({run.signature for run in runs})).encode()).hexdigest()[:8]
    path = folder / "compare" / f"{name}.png"
    page = drawn_runs.curves(sections)
    if page is None:
        return None
    files.replace_whole(path, lambda part: style.save(page, part))
    return path
