"""The wire: the messages and calls of srnas/v1/evaluate.proto, as the native module describes them. Nothing is generated, so that any
protobuf does."""

from typing import Any, Dict, Iterable, List

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from . import _native

_FILE = "srnas/v1/evaluate.proto"
_SERVICE = "srnas.v1.Evaluate"


def _with_imports(files: "Dict[str, Any]", name: str) -> "Iterable[str]":
    """A file after everything that it imports."""
    for imported in files[name].dependency:
        yield from _with_imports(files, imported)
    yield name


def _pool() -> Any:
    known = descriptor_pb2.FileDescriptorSet.FromString(_native.wire())
    files = {file.name: file for file in known.file}
    # One of its own: another package may know files of the same names.
    pool = descriptor_pool.DescriptorPool()
    added: List[str] = []
    for name in _with_imports(files, _FILE):
        if name not in added:
            pool.AddSerializedFile(files[name].SerializeToString())
            added.append(name)
    return pool


_descriptors = _pool()
_file = _descriptors.FindFileByName(_FILE)
METHODS = {
    method.name: (
        message_factory.GetMessageClass(method.input_type),
        message_factory.GetMessageClass(method.output_type),
    )
    for method in _descriptors.FindServiceByName(_SERVICE).methods
}
"""The calls, by name: the classes of what is asked and answered."""


def path(method: str) -> str:
    """Where a call goes."""
    return f"/{_SERVICE}/{method}"


class Stub:
    """The calls, each a method that takes its message."""

    def __init__(self, channel: Any) -> None:
        for name, (request, response) in METHODS.items():
            call = channel.unary_unary(
                path(name), request_serializer=request.SerializeToString, response_deserializer=response.FromString
            )
            setattr(self, name, call)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def __getattr__(name: str) -> Any:
    """A message by its name, or the value of an enum."""
    if name in _file.message_types_by_name:
        return message_factory.GetMessageClass(_file.message_types_by_name[name])
    for enum in _file.enum_types_by_name.values():
        if name in enum.values_by_name:
            return enum.values_by_name[name].number
    raise AttributeError(f"{_FILE} has no {name}")
