//! A range of any size, a page at a time, all of one revision.
//!
//! The first page says which revision; the others ask for it by number. How many keys a page has follows from how large
//! they were so far.

use quorate_client::proto::etcdserverpb::{RangeRequest, RangeResponse};
use quorate_client::proto::mvccpb::KeyValue;
use quorate_client::{Client, ClientError};

use crate::error::CliError;

/// The first page's number of keys; none is larger than the last number.
const KEYS_FIRST: i64 = 64;
const KEYS_MAX: i64 = 1 << 16;
/// About how large a page should be.
const PAGE_BYTES: i64 = 8 << 20;

/// Who reads the pages.
pub(super) trait Reader {
    /// Is given the first page, before its keys.
    fn begin(&mut self, first: &RangeResponse) -> Result<(), CliError>;

    /// Is given the keys of a page.
    fn take(&mut self, kvs: &[KeyValue]) -> Result<(), CliError>;

    /// There is no other page; whether there are more keys than were asked for.
    fn end(&mut self, has_more: bool) -> Result<(), CliError>;
}

/// Who is asked for pages.
pub(super) trait Source {
    /// One page.
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, ClientError>;
}

impl Source for Client {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, ClientError> {
        Client::range(self, request).await
    }
}

/// Reads what `request` asks for, whose limit is that of all pages together; 0 is none. It must not be sorted.
pub(super) async fn walk(
    source: &impl Source,
    mut request: RangeRequest,
    reader: &mut impl Reader,
) -> Result<(), CliError> {
    let mut left = if request.limit == 0 { i64::MAX } else { request.limit };
    let is_one_page = request.count_only || request.range_end.is_empty();
    let mut page_keys = KEYS_FIRST;
    let mut is_first = true;
    loop {
        if !is_one_page {
            request.limit = left.min(page_keys);
        }
        let page = source.range(request.clone()).await?;
        if is_first {
            is_first = false;
            reader.begin(&page)?;
            if request.revision <= 0 {
                request.revision = page.header.map_or(0, |header| header.revision);
            }
        }
        reader.take(&page.kvs)?;
        let taken = i64::try_from(page.kvs.len()).unwrap_or(i64::MAX);
        left -= taken.min(left);
        let last = page.kvs.last().filter(|_| page.more && left > 0 && !is_one_page);
        let Some(last) = last else { return reader.end(page.more) };
        // The least key behind it.
        request.key = [&last.key[..], &[0]].concat().into();
        let bytes = page.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum::<usize>();
        let bytes_each = (i64::try_from(bytes).unwrap_or(i64::MAX) / taken).max(1);
        page_keys = (PAGE_BYTES / bytes_each).clamp(1, KEYS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use quorate_client::proto::etcdserverpb::ResponseHeader;

    use super::*;

    /// Keys of two bytes, each with a value of so many; what it was asked is kept.
    struct Keys {
        count: usize,
        value_bytes: usize,
        asked: RefCell<Vec<RangeRequest>>,
    }

    impl Keys {
        fn answer(&self, request: RangeRequest) -> RangeResponse {
            let names = (0..self.count).map(|number| (number as u16).to_be_bytes().to_vec());
            let matching: Vec<_> = names.filter(|name| name[..] >= request.key[..]).collect();
            let limit = if request.limit == 0 { usize::MAX } else { request.limit as usize };
            let kvs = matching.iter().take(limit).map(|name| KeyValue {
                key: name.clone().into(),
                value: vec![0; self.value_bytes].into(),
                ..KeyValue::default()
            });
            let header = ResponseHeader { revision: 77, ..ResponseHeader::default() };
            RangeResponse {
                header: Some(header),
                kvs: kvs.collect(),
                more: matching.len() > limit,
                count: matching.len() as i64,
            }
        }
    }

    impl Source for Keys {
        async fn range(&self, request: RangeRequest) -> Result<RangeResponse, ClientError> {
            self.asked.borrow_mut().push(request.clone());
            Ok(self.answer(request))
        }
    }

    #[derive(Default)]
    struct Seen {
        count: i64,
        keys: Vec<Vec<u8>>,
        has_more: Option<bool>,
    }

    impl Reader for Seen {
        fn begin(&mut self, first: &RangeResponse) -> Result<(), CliError> {
            self.count = first.count;
            Ok(())
        }

        fn take(&mut self, kvs: &[KeyValue]) -> Result<(), CliError> {
            self.keys.extend(kvs.iter().map(|kv| kv.key.to_vec()));
            Ok(())
        }

        fn end(&mut self, has_more: bool) -> Result<(), CliError> {
            assert_eq!(self.has_more.replace(has_more), None, "it ended twice");
            Ok(())
        }
    }

    fn walked(count: usize, value_bytes: usize, limit: i64) -> (Seen, Vec<RangeRequest>) {
        let keys = Keys { count, value_bytes, asked: RefCell::default() };
        let mut seen = Seen::default();
        let all = RangeRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            limit,
            ..RangeRequest::default()
        };
        let runtime = crate::waiting_runtime().expect("there is a runtime");
        runtime.block_on(walk(&keys, all, &mut seen)).expect("nothing fails");
        (seen, keys.asked.into_inner())
    }

    #[test]
    fn every_key_is_read_once_at_the_revision_of_the_first_page() {
        let (seen, asked) = walked(10_000, 10, 0);
        let expected = (0..10_000_u16).map(|number| number.to_be_bytes().to_vec());
        assert_eq!((seen.count, seen.has_more), (10_000, Some(false)));
        assert!(seen.keys.into_iter().eq(expected));
        assert!(asked.len() > 1);
        assert!(asked[1..].iter().all(|request| request.revision == 77));
    }

    #[test]
    fn a_limit_is_that_of_all_pages() {
        for limit in [1, 63, 64, 65, 5000] {
            let (seen, _) = walked(10_000, 10, limit);
            assert_eq!((seen.keys.len() as i64, seen.has_more), (limit, Some(true)));
        }
        assert_eq!(walked(300, 10, 300).0.has_more, Some(false));
    }

    #[test]
    fn pages_of_large_values_have_few_keys() {
        let (seen, asked) = walked(400, 1 << 17, 0);
        assert_eq!(seen.keys.len(), 400);
        assert!(asked[1..].iter().all(|request| request.limit == 63), "{:?}", asked[1].limit);
    }
}
