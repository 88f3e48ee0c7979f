//! The Lock service: a [line](quorate_kv::line), of which the first holds the lock.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::Error;
use crate::face::Face;
use crate::proto::etcdserverpb::DeleteRangeRequest;
use crate::proto::v3lockpb as wire;

impl Face {
    pub(crate) async fn lock(
        self: &Arc<Self>,
        request: wire::LockRequest,
    ) -> Result<wire::LockResponse, Error> {
        let turn = self.line_up(&request.name, request.lease, Bytes::new()).await?;
        Ok(wire::LockResponse { header: turn.reached, key: turn.place.key })
    }

    pub(crate) async fn unlock(
        &self,
        request: wire::UnlockRequest,
    ) -> Result<wire::UnlockResponse, Error> {
        let delete = DeleteRangeRequest { key: request.key, ..Default::default() };
        Ok(wire::UnlockResponse { header: self.delete_range(delete).await?.header })
    }
}
