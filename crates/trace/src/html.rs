//! The page: the model as data, and the script that draws what is in view.

use crate::diagram::{Sheet, escape};
use crate::json::Json;
use crate::log::{Clock, Why};
use crate::model::{Fate, MarkKind, Model, SpanKind};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

pub(crate) fn render(sheet: &Sheet<'_>) -> String {
    let block = |class: &str, text: &str| match text {
        "" => String::new(),
        text => format!("<p class=\"{class}\">{}</p>", escape(text)),
    };
    let command = match sheet.command {
        "" => String::new(),
        command => format!(
            "<p class=\"command\">Run it again: <code id=\"command\">{}</code> \
             <button id=\"copy\" type=\"button\">Copy</button></p>",
            escape(command)
        ),
    };
    let banner = sheet.failing.map_or_else(String::new, |failing| {
        format!(
            "<section class=\"banner\" role=\"alert\"><strong>✗ {}</strong> \
             <button id=\"to-failure\" type=\"button\">Show the step</button>\
             <pre>{}</pre></section>",
            escape(&failing.headline()),
            escape(&failing.what)
        )
    });
    let parts = [
        ("{{title}}", escape(sheet.title)),
        ("{{caption}}", block("caption", sheet.caption)),
        ("{{extent}}", escape(&sheet.extent)),
        ("{{command}}", command),
        ("{{banner}}", banner),
        ("{{style}}", STYLE.to_owned()),
        ("{{data}}", data(&sheet.model)),
        ("{{script}}", SCRIPT.to_owned()),
    ];
    fill(PAGE, &parts)
}

/// Puts each part in its place. What a part holds is not looked at again, so that no label is taken for a place.
fn fill(page: &str, parts: &[(&str, String)]) -> String {
    let mut filled = String::new();
    let mut rest = page;
    while let Some(start) = rest.find("{{") {
        let place = &rest[start..];
        let (name, part) = parts
            .iter()
            .find(|(name, _)| place.starts_with(name))
            .expect("the page names only parts that there are");
        filled.push_str(&rest[..start]);
        filled.push_str(part);
        rest = &place[name.len()..];
    }
    filled + rest
}

/// The model, in the order in which `page.js` reads it.
fn data(model: &Model) -> String {
    let mut json = Json::default();
    json.group('{', '}', |json| {
        json.field("timed");
        json.flag(model.clock == Clock::Virtual);
        json.field("delay");
        json.number(model.delay);
        json.field("lanes");
        strings(json, &model.lanes);
        json.field("roles");
        strings(json, &model.roles);
        json.field("kinds");
        each(json, &model.kinds, |json, kind| {
            json.string(&kind.name);
            json.flag(kind.is_timer);
            json.flag(kind.is_routine);
            json.number(kind.count as u64);
            json.flag(kind.is_shown);
        });
        json.field("rows");
        each(json, &model.rows, |json, row| {
            json.number(row.at);
            json.number(row.lane.map_or(-1, |lane| lane as i64));
            strings(json, &row.lines);
            json.string(&row.view);
        });
        json.field("arrows");
        each(json, &model.arrows, |json, arrow| {
            json.number(arrow.from as u64);
            json.number(arrow.to as u64);
            json.number(arrow.sent);
            json.number(arrow.ends);
            json.number(arrow.kind as u64);
            json.string(&arrow.label);
            json.number(match arrow.fate {
                Fate::Arrived => 0,
                Fate::Pending => 1,
                Fate::Lost(Why::Cut) => 2,
                Fate::Lost(Why::Dropped) => 3,
                Fate::Lost(Why::Down) => 4,
                Fate::Lost(Why::Unread) => 5,
            });
            json.flag(arrow.is_copy);
        });
        marks(json, model);
        spans(json, model);
    });
    json.into_text()
}

fn marks(json: &mut Json, model: &Model) {
    json.field("marks");
    each(json, &model.marks, |json, mark| {
        json.number(mark.row);
        json.number(mark.lane.map_or(-1, |lane| lane as i64));
        let (name, number) = match &mark.kind {
            MarkKind::Fire(kind) => ("fire", *kind as i64),
            MarkKind::Ask => ("ask", 0),
            MarkKind::Reply => ("reply", 0),
            MarkKind::Boot => ("boot", 0),
            MarkKind::Crash => ("crash", 0),
            MarkKind::Persist(durable) => ("persist", durable.map_or(-2, i64::from)),
            MarkKind::PeerLost => ("peer", 0),
            MarkKind::Note => ("note", 0),
        };
        json.string(name);
        json.string(&mark.label);
        json.number(number);
    });
    json.field("states");
    each(json, &model.states, |json, state| {
        json.number(state.row);
        json.number(state.lane as u64);
        json.number(state.role as u64);
        json.string(&state.label);
        json.flag(state.is_detail);
    });
}

fn spans(json: &mut Json, model: &Model) {
    json.field("spans");
    each(json, &model.spans, |json, span| {
        json.number(span.lane as u64);
        json.number(span.rows.start);
        json.number(span.rows.end);
        json.flag(span.kind == SpanKind::Paused);
    });
    json.field("faults");
    each(json, &model.faults, |json, fault| {
        json.number(fault.rows.start);
        json.number(fault.rows.end);
        json.string(&fault.label);
    });
    json.field("failed");
    json.array(|json| {
        if let Some(failed) = &model.failed {
            json.number(failed.row);
            json.string(&failed.rule);
            json.string(failed.what.lines().next().unwrap_or_default());
        }
    });
}

fn each<T>(json: &mut Json, items: &[T], mut fill: impl FnMut(&mut Json, &T)) {
    json.array(|json| items.iter().for_each(|item| json.array(|json| fill(json, item))));
}

fn strings(json: &mut Json, strings: &[String]) {
    json.array(|json| strings.iter().for_each(|string| json.string(string)));
}
