"""``scripts/reproduce.py`` without the ten seconds that its two interpreters need to import torch and Lightning.

A server process imports everything once and forks a child per command; the child is the script, and where the script
starts ``python -m indrnn.train`` the child forks once more. Both are one process group, so that one kill hits both.
"""

import contextlib
import faulthandler
import importlib.util
import multiprocessing
import os
import signal
import sys
import types
from collections.abc import Iterator
from pathlib import Path

from indrnn import record, train

PRELOAD = ["forked", "indrnn.run", "indrnn.tables", "indrnn.figures", "hydra_plugins.indrnn_plan"]


class Fork:
    """What the script uses of subprocess.Popen, for the command ``python -m indrnn.train ...`` alone."""

    def __init__(self, command: list[str], **options: object):
        assert command[1:3] == ["-m", "indrnn.train"]
        self.pid = os.fork()
        if not self.pid:
            with leaving():
                sys.argv = command[2:]
                train.main()

    def wait(self, timeout: float | None = None) -> None:
        os.waitpid(self.pid, 0)


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """End this process with the body, with the exit code that an interpreter would give."""
    code = 0
    try:
        yield
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else 1 if leave.code else 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main(arguments: list[str], said: str, stacks: str) -> None:
    """The forked child: be the script; write to a file, and on SIGUSR1 what the main threads are doing to another."""
    os.setpgid(0, 0)
    multiprocessing.set_start_method("fork", force=True)  # or the locks of killed children are reported as leaked
    with leaving():
        for descriptor in (1, 2):
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
        faulthandler.register(signal.SIGUSR1, file=open(stacks, "a"), all_threads=False)
        os.chdir(record.ROOT)
        script = record.ROOT / "scripts" / "reproduce.py"
        spec = importlib.util.spec_from_file_location("reproduce", script)
        reproduce = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(reproduce)
        reproduce.subprocess = types.SimpleNamespace(Popen=Fork, TimeoutExpired=TimeoutError)
        sys.argv = [str(script), *arguments]
        sys.exit(reproduce.main())


def start(arguments: list[str], said: Path, stacks: Path) -> multiprocessing.process.BaseProcess:
    """Start the script in a child of the server."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOAD)
    process = server.Process(target=main, args=(arguments, str(said), str(stacks)), daemon=True)
    process.start()
    return process
