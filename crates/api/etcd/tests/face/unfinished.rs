//! Requests that are begun and never ended.

use std::pin::Pin;
use std::task::{Context, Poll};

use quorate_api_etcd::proto::etcdserverpb::{PutRequest, PutResponse};
use tokio::task::JoinSet;
use tonic::codegen::tokio_stream::Stream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::fake_node::FakeNode;
use crate::{Served, UNFINISHED_BYTES_MAX};

const VALUE_BYTES: usize = 1 << 20;
/// Twice as many as there is room for.
const BEGUN: usize = 2 * UNFINISHED_BYTES_MAX / VALUE_BYTES;

fn put(value_bytes: usize) -> PutRequest {
    PutRequest { key: "k".into(), value: vec![0; value_bytes].into(), ..Default::default() }
}

/// A message after which the client says neither more nor that this was all.
struct Unfinished(Option<PutRequest>);

impl Stream for Unfinished {
    type Item = PutRequest;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<PutRequest>> {
        match self.0.take() {
            Some(message) => Poll::Ready(Some(message)),
            None => Poll::Pending,
        }
    }
}

async fn begin(channel: Channel) -> Status {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.expect("the face is there");
    let codec = tonic_prost::ProstCodec::<PutRequest, PutResponse>::default();
    let path = "/etcdserverpb.KV/Put".parse().expect("it is a path");
    let request = Request::new(Unfinished(Some(put(VALUE_BYTES))));
    client.client_streaming(request, path, codec).await.expect_err("it was never finished")
}

#[tokio::test]
async fn what_is_begun_and_not_ended_takes_no_more_room_than_there_is_and_gives_it_back() {
    let served = Served::start(FakeNode::default().start()).await;
    let mut begun = JoinSet::new();
    for _ in 0..BEGUN {
        begun.spawn(begin(served.channel().await));
    }
    // Those that find no room are refused; the others wait for what never comes.
    for _ in 0..BEGUN - UNFINISHED_BYTES_MAX / VALUE_BYTES {
        let refused = begun.join_next().await.expect("there are more").expect("it ends");
        let expected = (Code::ResourceExhausted, "etcdserver: too many requests");
        assert_eq!((refused.code(), refused.message()), expected);
    }
    let mut other = served.kv().await;
    other.put(put(1)).await.expect("what arrives whole needs no room");
    begun.shutdown().await;
    // The connections of those are gone, and the face hears of it in its own time.
    while let Err(refused) = other.put(put(VALUE_BYTES)).await {
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    }
}
