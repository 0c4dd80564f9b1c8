"""Train what the papers' tables need and is not done yet, then print them beside the published numbers."""

import argparse
import contextlib
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

# A Python without .venv runs this, too: src/ is found here, by this process and by those that it starts.
SRC = str(Path(__file__).resolve().parent.parent / "src")
sys.path.insert(0, SRC)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SRC, os.environ.get("PYTHONPATH")]))

from indrnn import files, record  # noqa: E402
from indrnn.errors import UserError  # noqa: E402
from indrnn.tables import judged, plan, render, schema  # noqa: E402

LAUNCHERS = {  # how each is told how many runs to make at once, and what else it needs for ours
    "joblib": ("hydra.launcher.n_jobs={}",),
    "submitit_local": ("hydra.sweeper.max_batch_size={}", "hydra.launcher.timeout_min=525600"),  # it has 60 minutes
    "submitit_slurm": ("hydra.launcher.array_parallelism={}",),
    "slurm": ("hydra.launcher.array_parallelism={}",),
    "ray": ("++hydra.launcher.ray.init.num_cpus={}", "++hydra.launcher.ray.init.include_dashboard=false"),
}
CLUSTER = {"submitit_local": "submitit", "submitit_slurm": "submitit", "slurm": "submitit", "ray": "ray"}
JOBLIB = "hydra_plugins.hydra_joblib_launcher"
SMOKE = ["trainer.max_updates=2", "trainer.val_every=2", "logger=csv"]


def main() -> int:
    args = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, stop)
    try:
        if args.plan:
            return show(args)
        if args.smoke:
            return smoke(args)
        return reproduce(args)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:  # a folder that cannot be written, a full disk
        print(error if error.filename else f"{error}: {args.runs}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    which = "a file of conf/table, may be repeated (default: all but those with default: false)"
    parser.add_argument("--table", action="append", help=which)
    parser.add_argument("--profile", default="quick", help=f"{', '.join(schema.PROFILES)} (default: quick)")
    parser.add_argument("--column", action="append", help="a column's key in the table file, may be repeated")
    parser.add_argument("--seeds", type=numbers, help="such as 0,1,2, instead of the table's")
    parser.add_argument("--launcher", default="basic", help=f"basic, {', '.join(LAUNCHERS)}, or another of Hydra's")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at once (launcher basic: always one)")
    parser.add_argument("--runs", type=Path, default=files.ROOT / "runs", help="folder of the runs (default: runs/)")
    parser.add_argument("--plan", action="store_true", help="only list the runs: signature, state, command")
    parser.add_argument(
        "--smoke", action="store_true", help="every table at quick sizes with 2 updates, then forget it"
    )
    parser.add_argument("overrides", nargs="*", help="Hydra overrides for every run")
    args = parser.parse_args()
    args.runs = args.runs.resolve()
    if args.jobs < 1:
        parser.error(f"--jobs must be at least 1, not {args.jobs}")
    return args


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def stop(number: int, frame: object) -> None:
    """Whatever asks this process to end is told to the runs as Ctrl-C."""
    raise KeyboardInterrupt


def planned(args: argparse.Namespace) -> list[plan.Run]:
    return plan.runs(args.table, args.profile, args.column, args.seeds, extra(args), args.smoke)


def extra(args: argparse.Namespace) -> list[str]:
    """The overrides that may decide what a run is; those of Hydra itself only say how it starts."""
    return [override for override in args.overrides if not override.startswith("hydra")]


def show(args: argparse.Namespace) -> int:
    """Print every planned run with its signature, state and command."""
    states: Counter[str] = Counter()
    for run in planned(args):
        state = plan.state(run, args.runs)
        states[state] += 1
        print(f"{run.signature}  {state:13}  {run.table}: {run.name}")
        print(f"{'':29}{shlex.join(['python', '-m', 'indrnn.train', *run.overrides])}")
    print(f"{states.total()} runs: {', '.join(f'{count} {state}' for state, count in sorted(states.items()))}")
    return 0


def reproduce(args: argparse.Namespace) -> int:
    """Launch what is not done, render all tables, say what is missing."""
    runs = planned(args)
    if not runs:
        raise UserError(f"Profile {args.profile} runs nothing of {', '.join(args.table or schema.default_tables())}.")
    with only_one(args.runs) as lock:
        if missing(runs, args.runs):
            launch(args, runs, lock)
        if not any(judged.records(runs, args.runs).values()):
            raise UserError("No run was made; the reason stands above.")
        out = args.runs / "tables" / args.profile
        files.remove_parts(out)
        for report in reports(args, None):
            with drawn(f"{report.table.name}.png"):
                render.write(report, out, args.runs)
        for report in [] if args.smoke else reports(args, args.column):
            print("\n" + render.markdown(report, None))
    if not args.smoke:
        compare_pairs(args)
        print(f"Tables: {out}")
    if left := missing(runs, args.runs):
        print(f"{left} of {len(runs)} runs are not done; the same command tries them again.", file=sys.stderr)
    return 1 if left else 0


def reports(args: argparse.Namespace, columns: list[str] | None) -> Iterator[judged.Report]:
    for name in args.table or schema.default_tables():
        command = f"make reproduce-table TABLE={name} PROFILE={args.profile}"
        if args.seeds or args.overrides:
            command = shlex.join(["python", "scripts/reproduce.py", *sys.argv[1:]])
        yield judged.report(name, args.profile, args.runs, args.seeds, extra(args), args.smoke, command, columns)


def compare_pairs(args: argparse.Namespace) -> None:
    """Of tables whose rows are compared seed by seed: all of them on one page, too."""
    if any(schema.load_table(name).pairs for name in args.table or ()):
        with drawn("the page of pairs"):
            from indrnn.studies.ablations import report  # matplotlib takes a second to import

            if text := report.write(args.runs, args.runs / "tables"):
                print("\n" + text)


@contextlib.contextmanager
def drawn(what: str) -> Iterator[None]:
    """A picture is made last: where there is nothing to draw with, it alone is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        print(f"matplotlib is not installed here: {what} is left out.", file=sys.stderr)


def missing(runs: list[plan.Run], folder: Path) -> int:
    return sum(plan.state(run, folder) not in record.FINAL for run in runs)


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[TextIO]:
    """Hold runs/.lock while this process or the runs that it started are alive."""

    def busy(lock: TextIO) -> UserError:
        who = ", ".join(lock.read().split("\n")[:-1]) or "another process"
        return UserError(f"{folder} is in use by {who}: wait for it, or stop it.")

    with files.lock(folder / ".lock", busy) as lock:
        lock.truncate(0)
        print(f"process {os.getpid()}", file=lock, flush=True)
        yield lock


def launch(args: argparse.Namespace, runs: list[plan.Run], lock: TextIO) -> None:
    """Start the Hydra multirun and wait for it; which runs it could not make is seen in their records."""
    if args.launcher in CLUSTER and not importlib.util.find_spec(CLUSTER[args.launcher]):
        raise UserError(f"The launcher {args.launcher} is not installed here: run `make setup EXTRAS=cluster`.")
    if args.launcher == "joblib" and not importlib.util.find_spec(JOBLIB):
        raise UserError("The launcher joblib is not installed here: leave --launcher out, or run `make setup`.")
    sweeper = {"tables": args.table, "columns": args.column, "seeds": args.seeds}
    command = [sys.executable, "-m", "indrnn.train", "-m", runs[0].overrides[0], "hydra/sweeper=indrnn_plan"]
    command += [f"hydra.sweeper.{name}=[{','.join(map(str, what))}]" for name, what in sweeper.items() if what]
    command += [f"hydra.sweeper.profile={args.profile}", f"hydra.sweeper.smoke={args.smoke}"]
    command += [f"hydra/launcher={args.launcher}"]
    command += [option.format(args.jobs) for option in LAUNCHERS.get(args.launcher, ())]
    if args.runs != files.ROOT / "runs":
        command.append(f"machine.runs={plan.quoted(str(args.runs))}")
    # A process group of its own: Ctrl-C, which a terminal sends to all, reaches every run once and not twice.
    child = subprocess.Popen([*command, *args.overrides], cwd=files.ROOT, pass_fds=[lock.fileno()], process_group=0)
    print(f"which started {child.pid}", file=lock, flush=True)
    try:
        child.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(child.pid, signal.SIGINT)
            child.wait(timeout=30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        raise


def smoke(args: argparse.Namespace) -> int:
    """Compose every table, train its cells at quick sizes for 2 updates, render, and look for holes.

    A table that names its ``smoke`` columns is trained in these alone.
    """
    args.table = args.table or schema.table_names()
    composed = sum(len(plan.runs(args.table, profile)) for profile in schema.PROFILES)
    print(f"{composed} runs of all profiles compose", flush=True)
    args.profile, args.seeds = "quick", [0]
    args.overrides = [*SMOKE, *args.overrides]
    with tempfile.TemporaryDirectory(prefix="indrnn-smoke-") as folder:
        args.runs = Path(folder).resolve()
        code = reproduce(args)
    print(f"smoke: {'no cell is missing' if code == 0 else 'cells are missing'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
