"""The messages and methods of etcd v3, made at run time from the very files that the server is built from."""

import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parents[2] / "crates" / "api" / "etcd" / "proto"


class Method:
    """One RPC: where it is, and what it takes and gives."""

    def __init__(self, descriptor):
        service = descriptor.containing_service
        self.name = f"{service.name}.{descriptor.name}"
        self.path = f"/{service.full_name}/{descriptor.name}"
        self.takes_stream, self.gives_stream = descriptor.client_streaming, descriptor.server_streaming
        self.request = message_factory.GetMessageClass(descriptor.input_type)
        self.response = message_factory.GetMessageClass(descriptor.output_type)


def methods():
    """Every method by its name, `KV.Range`, in the order of the files."""
    files = sorted(path.name for path in PROTOS.glob("*.proto"))
    with tempfile.NamedTemporaryFile(suffix=".pb") as compiled:
        status = protoc.main(["protoc", f"-I{PROTOS}", "--include_imports", f"--descriptor_set_out={compiled.name}", *files])
        if status != 0:
            raise SystemExit(f"the files in {PROTOS} do not compile")
        described = descriptor_pb2.FileDescriptorSet.FromString(Path(compiled.name).read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in described.file:
        pool.Add(file)
    services = [pool.FindFileByName(name).services_by_name.values() for name in files]
    found = [Method(method) for of_file in services for service in of_file for method in service.methods]
    return {method.name: method for method in found}
