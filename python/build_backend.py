"""Builds the wheel: maturin's backend, which builds the native module, with the program `srnas` put into the wheel beside it.

`-C program=PATH` (of `pip wheel` and `pip install`) takes a program that is built already; else cargo builds it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

import maturin
from maturin import (  # noqa: F401
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SCRIPTS = HERE / "srnas.data" / "scripts"
EXECUTABLE = "srnas.exe" if sys.platform == "win32" else "srnas"


def prepare_metadata_for_build_wheel(directory: str, settings: Optional[dict] = None) -> str:
    """What is said of the wheel before it is built."""
    # maturin wants the folder that the configuration names.
    SCRIPTS.mkdir(parents=True, exist_ok=True)
    return maturin.prepare_metadata_for_build_wheel(directory, None)


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def build_wheel(directory: str, settings: Optional[dict] = None, metadata: Optional[str] = None) -> str:
    """The wheel."""
    return maturin.build_wheel(directory, _with_program(settings), metadata)


def build_editable(directory: str, settings: Optional[dict] = None, metadata: Optional[str] = None) -> str:
    """The wheel of an editable installation."""
    return maturin.build_editable(directory, _with_program(settings), metadata)


def _with_program(settings: Optional[dict]) -> "dict[str, Any]":
    """Puts the program where maturin looks for it; the rest of the settings."""
    rest = dict(settings or {})
    program = Path(rest.pop("program", "") or _built())
    if not program.is_absolute():
        # As whoever called pip would have it, from the root of the repository; pip itself works in this folder.
        program = ROOT / program
    if not program.is_file():
        raise SystemExit(f"there is no program {program}: build it (cargo build --release), or leave out -C program=")
    shutil.rmtree(SCRIPTS, ignore_errors=True)
    SCRIPTS.mkdir(parents=True)
    shutil.copy2(program, SCRIPTS / EXECUTABLE)
    # Names of symbols are of no use where the source is not; where there is no such tool, they stay.
    if shutil.which("strip"):
        subprocess.run(["strip", SCRIPTS / EXECUTABLE], check=False)
    return rest


def _built() -> Path:
    command = ["cargo", "build", "--release", "--locked", "--package", "srnas", "--bin", "srnas"]
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        raise SystemExit("the program srnas cannot be built: see above")
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"), "release", EXECUTABLE)
