"""What the package's pages show, run as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake import FakeSearch

PYTHON = Path(__file__).parents[1]
PAGES = [PYTHON / "README.md", PYTHON.parent / "docs" / "python.md"]
ELSEWHERE = "http://localhost:7778"
PAGE = {page.name: re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) for page in PAGES if page.is_file()}


def run(program, folder):
    environment = {**os.environ, "MPLBACKEND": "svg"}
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_measures_for_a_search_elsewhere(tmp_path):
    snippets = [snippet for snippet in PAGE["README.md"] if ELSEWHERE in snippet]
    assert len(snippets) == 2
    for snippet in snippets:
        server = FakeSearch(work=3)
        try:
            assert snippet.count("\n") <= 30
            run(snippet.replace(ELSEWHERE, server.url), tmp_path)
            assert sorted(server.answers) == [0, 1, 2]
            assert "loss" in server.answers[2][0]
        finally:
            server.stop()


def test_what_searches_here(tmp_path):
    snippets = [snippet for snippet in PAGE["README.md"] if ELSEWHERE not in snippet]
    assert len(snippets) == 1
    run(snippets[0], tmp_path)
    assert (tmp_path / "run.sqlite").is_file()


def test_the_page_on_searches_in_python(tmp_path):
    if "python.md" not in PAGE:
        pytest.skip("the page is not here")
    pytest.importorskip("optuna")
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    snippets = PAGE["python.md"]
    names = [match[1] if (match := re.match(r"# (\w+\.py)\n", snippet)) else None for snippet in snippets]
    assert names.count("search.py") == names.count("parallel.py") == 1
    for name, snippet in zip(names, snippets):
        if name is not None:
            (tmp_path / name).write_text(snippet)
            done = subprocess.run([sys.executable, name], cwd=tmp_path, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
    # One after the other, as on the page; what stands in a file of its own does not go on.
    program = "\n".join(snippet for name, snippet in zip(names, snippets) if name != "parallel.py")
    out = run(program + "\nassert study.best_value < 1, study.best_value\n", tmp_path)
    assert "layers" in out
    assert all((tmp_path / name).is_file() for name in ("search.png", "space.toml", "run.sqlite", "asked.sqlite"))
