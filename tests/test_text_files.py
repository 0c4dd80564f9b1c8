"""Text is UTF-8 whatever the locale, in every file that the code opens and in what it prints."""

import ast
import os
import subprocess
import sys

import pytest

from indrnn import errors, files

SOURCES = sorted([*(files.ROOT / "src").rglob("*.py"), *(files.ROOT / "scripts").glob("*.py")])
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
WORDS = "0.5 ± 0.1, γ ≈ 2"


def of_text(call: ast.Call) -> bool:
    """Whether a call opens a file as text, or reads what a process says as text."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    constants = [node.value for node in [*call.args[:2], *(k.value for k in call.keywords if k.arg == "mode")]
                 if isinstance(node, ast.Constant)]  # fmt: skip
    if name == "open" and not any(word in ast.unparse(call.func) for word in ("Image.", "archive.")):
        return not any(isinstance(mode, str) and "b" in mode and len(mode) < 4 for mode in constants)
    flags = [k.value for k in call.keywords if k.arg in ("text", "universal_newlines")]
    if any(isinstance(flag, ast.Constant) for flag in flags):
        return True
    return name in ("read_text", "write_text", "TextIOWrapper")


def test_every_text_names_its_encoding():
    missing = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and of_text(node) and "encoding" not in {k.arg for k in node.keywords}:
                missing.append(f"{path.relative_to(files.ROOT)}:{node.lineno}: {ast.unparse(node)[:80]}")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize(
    "call, expected",
    [("open(p)", True), ("open(p, 'a+')", True), ("path.open('rb')", False), ("open(p, mode='wb')", False),
     ("p.read_text()", True), ("run(c, text=True)", True), ("p.read_bytes()", False), ("zip.open('abcb')", True)],
)  # fmt: skip
def test_what_counts_as_text(call, expected):
    assert of_text(ast.parse(call).body[0].value) is expected


def child(code: str, **environment: str) -> subprocess.CompletedProcess:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))}
    return subprocess.run([sys.executable, "-c", code], env=kept | environment, capture_output=True, timeout=60)


@pytest.mark.parametrize("environment", [C_LOCALE, {"LC_ALL": "C.UTF-8"}])
def test_files_and_what_is_printed_are_utf_8(tmp_path, environment):
    code = "from indrnn.errors import exit_code; from indrnn import files; from pathlib import Path\n"
    code += (
        f"text = {WORDS!a}; files.write_whole(Path('{tmp_path}/a.md'), text); raise SystemExit(exit_code(lambda: text))"
    )
    done = child(code, **environment)
    assert (done.returncode, done.stdout.decode("utf-8")) == (0, WORDS + "\n"), done.stderr
    assert (tmp_path / "a.md").read_bytes() == WORDS.encode("utf-8")


def test_an_encoding_that_was_asked_for_gets_what_it_has():
    code = f"from indrnn.errors import exit_code; raise SystemExit(exit_code(lambda: {WORDS!a}))"
    assert child(code, PYTHONIOENCODING="latin-1").stdout == "0.5 ± 0.1, ? ? 2\n".encode("latin-1")


def test_a_sentence_about_a_run_is_told_in_any_locale(tmp_path):
    command = [sys.executable, "-m", "indrnn.train", f"machine.runs={tmp_path}", "model=lßtm"]
    done = subprocess.run(command, env=os.environ | C_LOCALE, cwd=files.ROOT, capture_output=True, timeout=60)
    assert done.returncode == 1 and b"Traceback" not in done.stderr, done.stderr.decode("utf-8")


def test_a_stream_that_is_none_of_python_s_own_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)  # as in a process without one
    errors.speak_utf8()
