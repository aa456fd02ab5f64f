"""Generates the wire's code when the package is built; everything else is in pyproject.toml."""

import re
import shutil
import tempfile
from importlib.metadata import requires
from importlib.resources import files
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
PROTO = Path("proto", "srnas", "v1", "evaluate.proto")


def proto() -> Path:
    """The contract: a source distribution carries it, a checkout has it next to this folder."""
    return next(path for path in (HERE / PROTO, HERE.parent / PROTO) if path.is_file())


class Build(build_py):
    """Modules, the generated ones included."""

    def run(self) -> None:
        super().run()
        self.generate(HERE / "src" if self.editable_mode else Path(self.build_lib))

    def generate(self, target: Path) -> None:
        from grpc_tools import protoc

        with tempfile.TemporaryDirectory() as folder:
            # Under this path the generated modules find each other inside the package.
            source = Path(folder, "srnas", "_wire", PROTO.name)
            source.parent.mkdir(parents=True)
            shutil.copy(proto(), source)
            outputs = [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
            includes = [f"-I{folder}", f"-I{files('grpc_tools') / '_proto'}"]
            if protoc.main(["protoc", *includes, *outputs, str(source)]) != 0:
                raise SystemExit(f"{proto()}: protoc failed")


class Source(sdist):
    """A source distribution that builds alone."""

    def make_release_tree(self, base_dir: str, files: "list[str]") -> None:
        super().make_release_tree(base_dir, files)
        target = Path(base_dir, PROTO)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(proto(), target)


def dependencies() -> "list[str]":
    """Generated code needs a runtime as new as its generator, which says what that is."""
    needed = requires("grpcio-tools") or []
    return [line for line in needed if re.match(r"(grpcio|protobuf)\b", line) and "extra" not in line]


setup(cmdclass={"build_py": Build, "sdist": Source}, install_requires=dependencies())
