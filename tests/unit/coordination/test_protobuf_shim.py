import pathlib
import subprocess
import sys

import pytest

from haqn.coordination import protobuf_shim


def test_first_import_warns_of_nothing():
    code = "from haqn.coordination.stubs import rpc; print(rpc.PutRequest(key=b'k').key)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'k'\n", "")


def test_another_etcd3_is_named(tmp_path):
    other = pathlib.Path(tmp_path / "kv_pb2.py")
    other.write_text("DESCRIPTOR = object()\n")
    with pytest.raises(ImportError, match=r"kv_pb2.*0\.12\.0"):
        protobuf_shim._serialized_descriptor(other)
