"""Lets python-etcd3 0.12.0 run on protobuf 4 and later; see doc/adr/0002-etcd-client.md.

The generated modules of etcd3 0.12.0 build their descriptors by hand, which protobuf
refuses since version 4. Each of them also carries the whole serialized descriptor. From
that, unchanged, the message classes are built here in the way that newer generated code
does it, and are put where etcd3 looks for them. Nothing of etcd3 is copied or patched.

Must be imported before etcd3; `haqn.coordination.stubs` sees to it. Knows nothing of haqn.
"""

from __future__ import annotations

import ast
import importlib.util
import pathlib
import sys
import types

from google.protobuf import __version__ as protobuf_version
from google.protobuf import descriptor_pool
from google.protobuf.internal import builder

#: In the order of their imports of each other.
_GENERATED_MODULES = ("kv_pb2", "auth_pb2", "rpc_pb2")
_FIRST_PROTOBUF_THAT_REFUSES = 4


def install() -> None:
    """Register the generated modules of etcd3; does nothing where etcd3 works by itself.

    Raises ImportError when the installed etcd3 is not the one that this module knows.
    """
    if "etcd3" in sys.modules or int(protobuf_version.split(".")[0]) < _FIRST_PROTOBUF_THAT_REFUSES:
        return
    spec = importlib.util.find_spec("etcd3")
    if spec is None or spec.origin is None:
        raise ImportError("cannot find the package etcd3")
    folder = pathlib.Path(spec.origin).parent / "etcdrpc"
    for name in _GENERATED_MODULES:
        module = _build(f"etcd3.etcdrpc.{name}", _serialized_descriptor(folder / f"{name}.py"))
        sys.modules[module.__name__] = module


def _build(name: str, serialized: bytes) -> types.ModuleType:
    module = types.ModuleType(name)
    descriptor = descriptor_pool.Default().AddSerializedFile(serialized)
    module.__dict__["DESCRIPTOR"] = descriptor
    builder.BuildMessageAndEnumDescriptors(descriptor, module.__dict__)
    builder.BuildTopDescriptorsAndMessages(descriptor, name, module.__dict__)
    return module


def _serialized_descriptor(path: pathlib.Path) -> bytes:
    """The argument `serialized_pb=b"..."`, or `serialized_pb=_b("...")`, of the file's FileDescriptor."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if not (isinstance(node, ast.keyword) and node.arg == "serialized_pb"):
            continue
        literal = node.value.args[0] if isinstance(node.value, ast.Call) else node.value
        value = literal.value if isinstance(literal, ast.Constant) else None
        if isinstance(value, str):
            value = value.encode("latin1")
        if isinstance(value, bytes) and value:
            return value
    raise ImportError(f"cannot find a serialized descriptor in {path}: is this etcd3 0.12.0?")


install()
