"""The wheel, in an environment where nothing else is. Skipped where PYTHON_WHEEL does not name it."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

WHEEL = os.environ.get("PYTHON_WHEEL", "")

PROGRAM = """
import sys, srnas
search = srnas.Search({"a": [1, 2, 3], "b": srnas.Range(0.0, 1.0)}, minimise="loss", ledger="run.sqlite")
assert search.optimize(lambda a: a["a"] - a["b"], budget=12).value == 0
# Searches elsewhere and Optuna are not loaded before they are used.
assert "grpc" not in sys.modules and "optuna" not in sys.modules
assert srnas.evaluator(lambda a: 1)({}) == 1 and "grpc" in sys.modules and callable(srnas.evaluator)
for use, needs in [(search.to_pandas, "pandas"), (search.plot, "matplotlib"), (lambda: srnas.optuna, "optuna")]:
    try:
        use()
    except ImportError as error:
        assert f"pip install" in str(error) and needs in str(error), error
    else:
        raise AssertionError(needs)
print(srnas.__file__)
"""


@pytest.mark.skipif(not WHEEL, reason="PYTHON_WHEEL names no wheel")
def test_the_wheel_in_a_clean_environment(tmp_path):
    wheel = Path(WHEEL).resolve()
    assert "-cp39-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
    assert "srnas/_native.pyi" in names and "srnas/py.typed" in names
    assert [name for name in names if name.endswith("data/scripts/srnas")]
    venv.create(tmp_path / "clean", with_pip=True)
    python = tmp_path / "clean" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True, timeout=300)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*command):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(tmp_path) in run(python, "-c", PROGRAM)
    program = tmp_path / "clean" / "bin" / "srnas"
    assert run(program, "--version").startswith("srnas ")
    # Both are of the same version, and read each other's ledgers.
    version = run(python, "-c", "from importlib.metadata import version; print(version('srnas'))").strip()
    assert run(program, "--version").split()[1] == version
    assert "12" in run(program, "ledger", "verify", "run.sqlite")
    assert sys.version_info >= (3, 9)
