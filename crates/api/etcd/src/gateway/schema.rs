//! Between JSON and messages, by the messages' descriptors.
//!
//! Fields are printed under their original names and left out where they hold nothing; 64-bit integers are printed as
//! strings, bytes in base64. Read is whatever the mapping of proto3 allows, and what nobody knows is passed over, be it a
//! field or the name of a choice, as etcd 3.6's gateway does both.

use std::sync::LazyLock;

use bytes::Bytes;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};
use tonic::Status;

use crate::error::Error;
use crate::grpc;
use crate::method::Method;

static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let encoded = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    DescriptorPool::decode(encoded.as_slice()).expect("the build has written it")
});

/// What a method takes and gives.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    input: MessageDescriptor,
    output: MessageDescriptor,
}

impl Schema {
    pub(super) fn of(method: Method) -> Self {
        let service = DESCRIPTORS.get_service_by_name(method.service());
        let service = service.expect("the face has no method but those of its descriptors");
        let found = service.methods().find(|found| found.name() == method.name());
        let found = found.expect("the face has no method but those of its descriptors");
        Schema { input: found.input(), output: found.output() }
    }

    /// A request with what stands before it.
    pub(super) fn request(&self, json: &[u8]) -> Result<Bytes, Status> {
        let mut json = serde_json::Deserializer::from_slice(json);
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        let (kind, json) = (self.input.clone(), &mut json);
        let message = DynamicMessage::deserialize_with_options(kind, json, &options);
        let message = message.map_err(|error| Status::from(Error::Json(error.to_string())))?;
        Ok(grpc::frame(&message)?)
    }

    /// An answer in JSON.
    pub(super) fn answer(&self, message: Bytes) -> Result<Bytes, Status> {
        let mut json = Vec::with_capacity(message.len() * 2);
        self.write(message, &mut json)?;
        Ok(json.into())
    }

    /// An answer of a stream, as a line.
    pub(super) fn result(&self, message: Bytes) -> Result<Bytes, Status> {
        let mut line = b"{\"result\":".to_vec();
        self.write(message, &mut line)?;
        line.extend_from_slice(b"}\n");
        Ok(line.into())
    }

    fn write(&self, message: Bytes, json: &mut Vec<u8>) -> Result<(), Status> {
        let message = DynamicMessage::decode(self.output.clone(), message).map_err(Error::from)?;
        let options = SerializeOptions::new()
            .stringify_64_bit_integers(true)
            .use_proto_field_name(true)
            .skip_default_fields(true);
        message
            .serialize_with_options(&mut serde_json::Serializer::new(json), &options)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use crate::proto::etcdserverpb as wire;

    use prost::Message;

    use super::*;

    fn framed(method: Method, json: &str) -> Bytes {
        Schema::of(method).request(json.as_bytes()).expect("it is a request")
    }

    #[test]
    fn a_request_may_spell_names_numbers_and_enums_as_it_likes() {
        let expected = wire::RangeRequest {
            key: "foo".into(),
            range_end: "fop".into(),
            limit: 2,
            sort_order: 2,
            sort_target: 3,
            ..Default::default()
        };
        let expected = grpc::frame(&expected).expect("it is short");
        for json in [
            r#"{"key":"Zm9v","range_end":"Zm9w","limit":2,"sort_order":"DESCEND","sort_target":"MOD"}"#,
            r#"{"key":"Zm9v","rangeEnd":"Zm9w","limit":"2","sortOrder":2,"sortTarget":3,"later":[{}]}"#,
        ] {
            assert_eq!(framed(Method::Range, json), expected, "{json}");
        }
    }

    #[test]
    fn an_answer_has_etcds_names_and_leaves_out_what_holds_nothing() {
        let header =
            wire::ResponseHeader { cluster_id: u64::MAX, revision: 7, ..Default::default() };
        let answer =
            wire::LeaseGrantResponse { header: Some(header), id: 5, ttl: 0, ..Default::default() };
        let json = Schema::of(Method::LeaseGrant).answer(answer.encode_to_vec().into());
        let expected =
            r#"{"header":{"cluster_id":"18446744073709551615","revision":"7"},"ID":"5"}"#;
        assert_eq!(json.expect("it is an answer"), expected);
    }

    #[test]
    fn what_is_no_request_is_an_invalid_argument() {
        for json in [r#"{"key":5}"#, r#"{"key":"%"}"#, "[]", r#"{"key""#] {
            let refusal = Schema::of(Method::Range).request(json.as_bytes());
            let refusal = refusal.expect_err(json);
            assert_eq!(refusal.code(), tonic::Code::InvalidArgument, "{json}");
        }
    }
}
