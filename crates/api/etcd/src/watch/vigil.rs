//! A stream of watches of the face's own, for calls that wait until something has changed.

use quorate_kv::error::Error as StoreError;
use quorate_kv::request::{KeyRange, Revision};
use quorate_kv::watch::{Notice, StreamId, Watch};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::convert;
use crate::error::Error;
use crate::face::Face;
use crate::proto::mvccpb;
use crate::watch::{Lookout, Order};

/// It ends with this value.
pub(crate) struct Vigil<'a> {
    lookout: &'a Lookout,
    stream: StreamId,
    notices: UnboundedReceiver<Notice>,
}

impl Drop for Vigil<'_> {
    fn drop(&mut self) {
        self.lookout.order(Order::Close { stream: self.stream });
    }
}

impl<'a> Vigil<'a> {
    /// Watches these keys, from a revision on.
    pub(crate) async fn over(
        face: &'a Face,
        ranges: impl IntoIterator<Item = KeyRange>,
        start: Revision,
    ) -> Result<Self, Error> {
        let history = face.history().await?;
        let (stream, notices) = face.lookout.open();
        let vigil = Vigil { lookout: &face.lookout, stream, notices };
        for range in ranges {
            let watch = Watch {
                range,
                start,
                no_put: false,
                no_delete: false,
                prev_kv: false,
                progress_notify: false,
                fragment: false,
                asker: face.asker.clone(),
            };
            let history = history.clone();
            face.lookout.order(Order::Create { stream, id: 0, watch, history });
        }
        Ok(vigil)
    }

    /// What has changed since, at least one change; none if that can no longer be told, and the keys must be read again.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<mvccpb::Event>>, Error> {
        while let Some(notice) = self.notices.recv().await {
            let bytes = notice.bytes();
            self.lookout.order(Order::Sent { stream: self.stream, bytes });
            match notice {
                Notice::Created { .. } | Notice::Progress { .. } => {}
                // Who may not watch may not read them again either, and is told so then.
                Notice::Refused { .. } | Notice::Canceled { .. } | Notice::Denied { .. } => {
                    return Ok(None);
                }
                Notice::Events { events, .. } => {
                    let events = events.iter().map(|event| convert::event(event, false));
                    return Ok(Some(events.collect()));
                }
            }
        }
        Err(StoreError::Stopped.into())
    }
}
