//! `quorate get`, `put` and `del`: keys and values by hand, as etcdctl has them.

mod pages;

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;

use clap::Args;
use quorate_client::proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, ResponseHeader,
};
use quorate_client::proto::mvccpb::KeyValue;
use serde_json::{Map, Value, json};

use crate::base64;
use crate::endpoints::EndpointArgs;
use crate::error::CliError;
use crate::{print_bytes, waiting_runtime};

/// Read a key, or a range of keys
#[derive(Debug, Args)]
#[command(after_help = "Prints each key and its value on a line of its own.\n\n\
Examples:\n  quorate get greeting\n  quorate get users/ --prefix --keys-only\n  \
quorate get a m --limit 10      from a up to, but without, m\n  \
quorate get '' --prefix --count-only      how many keys there are")]
pub(crate) struct GetArgs {
    /// The key, or the first key of the range
    key: OsString,

    /// The end of the range, which is not part of it
    #[arg(conflicts_with_all = ["prefix", "from_key"])]
    range_end: Option<OsString>,

    /// All keys that begin with KEY
    #[arg(long, conflicts_with = "from_key")]
    prefix: bool,

    /// All keys from KEY on
    #[arg(long)]
    from_key: bool,

    /// At most this many keys; 0 is all
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: u32,

    /// As it was at this revision; 0 is now
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(i64).range(0..))]
    rev: i64,

    /// Keys without their values
    #[arg(long, conflicts_with = "count_only")]
    keys_only: bool,

    /// How many keys there are
    #[arg(long)]
    count_only: bool,

    /// Let the node answer by itself, which is faster and may be out of date
    #[arg(long)]
    serializable: bool,

    /// Print JSON as etcdctl does, keys and values in base64
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoints: EndpointArgs,
}

/// Write a key
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  quorate put greeting hello\n  \
quorate put settings - < settings.json\n  quorate put temperature -- -5")]
pub(crate) struct PutArgs {
    /// The key
    key: OsString,

    /// The value, or - for the standard input
    value: OsString,

    /// Also print what the key had before
    #[arg(long)]
    prev_kv: bool,

    /// Print JSON as etcdctl does, keys and values in base64
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoints: EndpointArgs,
}

/// Remove a key, or a range of keys
#[derive(Debug, Args)]
#[command(after_help = "Prints how many keys were removed.\n\n\
Examples:\n  quorate del greeting\n  quorate del users/ --prefix")]
pub(crate) struct DelArgs {
    /// The key, or the first key of the range
    key: OsString,

    /// The end of the range, which is not part of it
    #[arg(conflicts_with = "prefix")]
    range_end: Option<OsString>,

    /// All keys that begin with KEY
    #[arg(long)]
    prefix: bool,

    /// Also print what was removed
    #[arg(long)]
    prev_kv: bool,

    /// Print JSON as etcdctl does, keys and values in base64
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoints: EndpointArgs,
}

/// `quorate get`
pub(crate) fn get(args: GetArgs) -> Result<(), CliError> {
    let span = if args.prefix {
        Span::Prefix
    } else if args.from_key {
        Span::FromKey
    } else {
        args.range_end.map_or(Span::Key, |end| Span::UpTo(end.into_vec()))
    };
    let (key, range_end) = bounds(args.key.into_vec(), span);
    let request = RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        limit: args.limit.into(),
        revision: args.rev,
        serializable: args.serializable,
        keys_only: args.keys_only,
        count_only: args.count_only,
        ..RangeRequest::default()
    };
    let form = match (args.json, args.count_only) {
        (true, _) => Form::Json,
        (false, true) => Form::Count,
        (false, false) => Form::Lines { with_values: !args.keys_only },
    };
    waiting_runtime()?.block_on(async {
        let client = args.endpoints.client()?;
        pages::walk(&client, request, &mut Printer { form, is_first: true }).await
    })
}

/// How `get` prints.
enum Form {
    Lines { with_values: bool },
    Count,
    Json,
}

/// Prints an answer page by page.
struct Printer {
    form: Form,
    /// Whether no key was printed yet.
    is_first: bool,
}

impl pages::Reader for Printer {
    fn begin(&mut self, response: &RangeResponse) -> Result<(), CliError> {
        match self.form {
            Form::Lines { .. } => Ok(()),
            Form::Count => crate::print(&format!("{}\n", response.count)),
            Form::Json => {
                let mut fields = with_header(response.header);
                fields.insert("count".into(), response.count.into());
                // The object stays open for what follows.
                let text = Value::Object(fields).to_string();
                let open = text.strip_suffix('}').unwrap_or(&text);
                crate::print(&format!("{open},\"kvs\":["))
            }
        }
    }

    fn take(&mut self, kvs: &[KeyValue]) -> Result<(), CliError> {
        match self.form {
            Form::Lines { with_values } => print_bytes(&as_lines(kvs, with_values)),
            Form::Count => Ok(()),
            Form::Json => {
                let mut text = String::new();
                for kv in kvs {
                    if !std::mem::replace(&mut self.is_first, false) {
                        text.push(',');
                    }
                    text.push_str(&as_json(kv).to_string());
                }
                crate::print(&text)
            }
        }
    }

    fn end(&mut self, has_more: bool) -> Result<(), CliError> {
        match self.form {
            Form::Lines { .. } | Form::Count => Ok(()),
            Form::Json => crate::print(&format!("],\"more\":{has_more}}}\n")),
        }
    }
}

/// `quorate put`
pub(crate) fn put(args: PutArgs) -> Result<(), CliError> {
    let mut value = args.value.into_vec();
    if value == b"-" {
        value.clear();
        std::io::stdin().read_to_end(&mut value).map_err(CliError::Input)?;
    }
    let request = PutRequest {
        key: args.key.into_vec().into(),
        value: value.into(),
        prev_kv: args.prev_kv,
        ..PutRequest::default()
    };
    let response = waiting_runtime()?
        .block_on(async { Ok::<_, CliError>(args.endpoints.client()?.put(request).await?) })?;
    if args.json {
        let mut fields = with_header(response.header);
        if let Some(previous) = &response.prev_kv {
            fields.insert("prev_kv".into(), as_json(previous));
        }
        return print_json(fields);
    }
    let mut lines = b"OK\n".to_vec();
    lines.extend(as_lines(response.prev_kv.as_slice(), true));
    print_bytes(&lines)
}

/// `quorate del`
pub(crate) fn del(args: DelArgs) -> Result<(), CliError> {
    let span = match args.range_end {
        Some(end) => Span::UpTo(end.into_vec()),
        None if args.prefix => Span::Prefix,
        None => Span::Key,
    };
    let (key, range_end) = bounds(args.key.into_vec(), span);
    let request =
        DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv: args.prev_kv };
    let response = waiting_runtime()?.block_on(async {
        Ok::<_, CliError>(args.endpoints.client()?.delete_range(request).await?)
    })?;
    if args.json {
        let mut fields = with_header(response.header);
        fields.insert("deleted".into(), response.deleted.into());
        if args.prev_kv {
            fields.insert("prev_kvs".into(), response.prev_kvs.iter().map(as_json).collect());
        }
        return print_json(fields);
    }
    let mut lines = format!("{}\n", response.deleted).into_bytes();
    lines.extend(as_lines(&response.prev_kvs, true));
    print_bytes(&lines)
}

/// Which keys are meant, given the first of them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Span {
    Key,
    Prefix,
    FromKey,
    UpTo(Vec<u8>),
}

/// The key and the range end that etcd's face wants. There, an end of one zero byte is beyond every key, and no end
/// at all means the key alone.
fn bounds(key: Vec<u8>, span: Span) -> (Vec<u8>, Vec<u8>) {
    const BEYOND_EVERY_KEY: [u8; 1] = [0];
    // No key is empty, so everything begins at the least key that there can be.
    let least_key = |key: Vec<u8>| if key.is_empty() { vec![0] } else { key };
    match span {
        Span::Key => (key, Vec::new()),
        Span::FromKey => (least_key(key), BEYOND_EVERY_KEY.into()),
        Span::UpTo(end) => (key, end),
        Span::Prefix => {
            let end = after_prefix(&key).unwrap_or(BEYOND_EVERY_KEY.into());
            (least_key(key), end)
        }
    }
}

/// The least key that is greater than all with this prefix, if there is one.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

fn as_lines(kvs: &[KeyValue], with_values: bool) -> Vec<u8> {
    let mut lines = Vec::new();
    for kv in kvs {
        lines.extend_from_slice(&kv.key);
        lines.push(b'\n');
        if with_values {
            lines.extend_from_slice(&kv.value);
            lines.push(b'\n');
        }
    }
    lines
}

fn as_json(kv: &KeyValue) -> Value {
    json!({
        "key": base64::encode(&kv.key),
        "create_revision": kv.create_revision,
        "mod_revision": kv.mod_revision,
        "version": kv.version,
        "value": base64::encode(&kv.value),
        "lease": kv.lease,
    })
}

fn with_header(header: Option<ResponseHeader>) -> Map<String, Value> {
    let mut fields = Map::new();
    if let Some(header) = header {
        let header = json!({
            "cluster_id": header.cluster_id,
            "member_id": header.member_id,
            "revision": header.revision,
            "raft_term": header.raft_term,
        });
        fields.insert("header".into(), header);
    }
    fields
}

fn print_json(fields: Map<String, Value>) -> Result<(), CliError> {
    crate::print(&format!("{}\n", Value::Object(fields)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &[u8], span: Span) -> (Vec<u8>, Vec<u8>) {
        bounds(key.to_vec(), span)
    }

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(of(b"ab", Span::Prefix), (b"ab".to_vec(), b"ac".to_vec()));
        assert_eq!(of(b"a\xff", Span::Prefix), (b"a\xff".to_vec(), b"b".to_vec()));
        assert_eq!(of(b"\xff\xff", Span::Prefix), (b"\xff\xff".to_vec(), vec![0]));
    }

    #[test]
    fn an_empty_prefix_is_every_key() {
        assert_eq!(of(b"", Span::Prefix), (vec![0], vec![0]));
        assert_eq!(of(b"", Span::FromKey), (vec![0], vec![0]));
    }

    #[test]
    fn a_key_alone_has_no_end() {
        assert_eq!(of(b"k", Span::Key), (b"k".to_vec(), Vec::new()));
        assert_eq!(of(b"k", Span::FromKey), (b"k".to_vec(), vec![0]));
        assert_eq!(of(b"k", Span::UpTo(b"m".to_vec())), (b"k".to_vec(), b"m".to_vec()));
    }

    #[test]
    fn keys_and_values_are_printed_as_they_are() {
        let kv = KeyValue {
            key: b"k\xfe".to_vec().into(),
            value: b"v".to_vec().into(),
            ..KeyValue::default()
        };
        assert_eq!(as_lines(std::slice::from_ref(&kv), true), b"k\xfe\nv\n");
        assert_eq!(as_lines(std::slice::from_ref(&kv), false), b"k\xfe\n");
        assert_eq!(as_json(&kv)["key"], "a/4=");
    }
}
