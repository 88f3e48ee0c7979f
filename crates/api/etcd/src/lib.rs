//! The etcd v3 face: gRPC services and HTTP endpoints on one port
