//! Diagrams of small logs, byte for byte, and of large ones within bounds.

use std::path::PathBuf;
use std::time::Duration;

use quorate_core::{NodeId, RequestId};
use quorate_trace::text::in_full;
use quorate_trace::{Diagram, Label, StepLog, Story, Why, Window};

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);

/// What must not be taken for markup, wherever it comes from.
const HOSTILE: &str = "</script><b>\"'&\u{1b}[31m\u{0}]]>";

/// An election in which one of everything happens.
fn election() -> StepLog {
    let mut log = StepLog::timed([N1, N2, N3]);
    let at = |log: &mut StepLog, us: u64| log.set_time(Duration::from_micros(us));
    for node in [N1, N2, N3] {
        log.boot(node, 0);
        log.arm(node, "election", Some(Duration::from_millis(150)));
        log.view(node, "follower@0 commit=0");
    }
    at(&mut log, 1_000);
    log.fault_begins(0, "cut off n3 for 90ms");
    at(&mut log, 150_000);
    log.fire(N1, "election");
    log.persist(N1, "term=1 vote=n1");
    log.view(N1, "candidate@1 commit=0");
    at(&mut log, 150_080);
    log.synced(N1, 1);
    let to_n2 = log.send(N1, N2, "RequestVote term=1");
    let again = log.duplicate(to_n2);
    let to_n3 = log.send(N1, N3, "RequestVote term=1");
    log.lose(to_n3, Why::Cut);
    log.view(N1, "candidate@1 commit=0");
    at(&mut log, 150_290);
    log.deliver(to_n2);
    log.persist(N2, "term=1 vote=n1");
    log.view(N2, "follower@1 commit=0");
    at(&mut log, 150_350);
    log.deliver(again);
    log.view(N2, "follower@1 commit=0");
    log.synced(N2, 1);
    let vote = log.send(N2, N1, "Vote term=1 granted");
    log.view(N2, "follower@1 commit=0");
    log.pause(N2, None);
    at(&mut log, 150_500);
    log.deliver(vote);
    log.view(N1, "leader@1 commit=0");
    log.fault_ends(0);
    at(&mut log, 160_000);
    log.ask(N1, RequestId(1), "put(k,v)");
    let append = log.send(N1, N2, "Append term=1 [1:1=put(k,v)]");
    log.persist(N1, "after 0: [1:1=put(k,v)]");
    log.reply(N1, RequestId(1), "put at 2");
    log.view(N1, "leader@1 commit=0 last=1");
    log.resume(N2);
    log.peer_lost(N3, N1);
    log.view(N3, "follower@0 commit=0");
    log.crash(N1, Some(Duration::from_secs(1)), 1);
    log.lose(append, Why::Dropped);
    log.note("what clients saw is judged");
    log.fail("verdict", "put(k,v) was acknowledged and is lost:\nno node holds it");
    log
}

fn diagram(log: &StepLog) -> Diagram<'_> {
    Diagram::new(log, "An election with a cut").caption("Made by hand.").command("quorate <again>")
}

/// Compares with the file of that name, or with `QUORATE_RECORD=1` writes it.
fn check(name: &str, drawn: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("QUORATE_RECORD").is_some() {
        std::fs::write(path, drawn).expect("the golden file can be written");
        return;
    }
    let recorded = std::fs::read_to_string(&path).expect("the golden file can be read");
    let mut lines = (1..).zip(recorded.lines().zip(drawn.lines()));
    if let Some((number, (recorded, drawn))) = lines.find(|(_, (a, b))| a != b) {
        panic!("{name}:{number} (QUORATE_RECORD=1 records it anew)\n- {recorded}\n+ {drawn}");
    }
    assert_eq!(recorded.len(), drawn.len(), "{name} goes on otherwise than recorded");
}

/// The part of a page that holds its data.
fn data(html: &str) -> &str {
    let (_, rest) = html.split_once("id=\"data\">").expect("the page has data");
    rest.split_once("</script>").expect("the data ends").0
}

#[test]
fn a_log_is_told_in_full() {
    check("election.txt", &in_full(&election()));
}

#[test]
fn a_story_tells_what_others_see_and_once() {
    let log = election();
    let mut story = Story::default();
    check("election-story.txt", &story.tell(&log));
    assert_eq!(story.tell(&log), "");
}

#[test]
fn an_image_is_drawn_the_same_byte_for_byte() {
    check("election.svg", &diagram(&election()).svg());
}

#[test]
fn a_page_is_drawn_the_same_byte_for_byte() {
    let html = diagram(&election()).html();
    check("election.json", &(data(&html).replace("],[", "],\n[") + "\n"));
    assert_eq!(html, diagram(&election()).html());
}

#[test]
fn an_image_is_well_formed_and_shows_one_of_everything() {
    let svg = diagram(&election()).svg();
    let image = roxmltree::Document::parse(&svg).expect("the image is well formed");
    let count = |class: &str| {
        let has = |node: &roxmltree::Node<'_, '_>| {
            node.attribute("class").is_some_and(|all| all.split(' ').any(|one| one == class))
        };
        image.descendants().filter(has).count()
    };
    // Two messages are lost, and one node crashes: each a cross of two lines. All are down at first, and one again.
    let counts = ["boot", "copy", "cross", "down", "paused", "write", "durable", "timer", "fault"]
        .map(|class| (class, count(class)));
    let expected = [3, 1, 6, 4, 1, 3, 2, 1, 1];
    assert_eq!(counts.map(|(_, count)| count), expected, "{counts:?}");
}

#[test]
fn the_failing_step_is_marked_with_its_rule() {
    let log = election();
    let svg = diagram(&log).svg();
    assert!(svg.contains("✗ The verdict rule broke."), "{svg}");
    assert!(svg.contains("✗ verdict: put(k,v) was acknowledged and is lost:"), "{svg}");
    let html = diagram(&log).html();
    assert!(html.contains("<section class=\"banner\""));
    let row = log.steps().count() - 1;
    assert!(data(&html).contains(&format!("\"failed\":[{row},\"verdict\"")), "{}", data(&html));
}

#[test]
fn a_claim_that_broke_is_told_with_what_it_promises_everywhere() {
    let mut log = election();
    log.fail_claim("no_loss", "What is acknowledged stays.", "put(k,v) is lost");
    let headline = "✗ no loss was broken: What is acknowledged stays.";
    for drawn in [diagram(&log).svg(), diagram(&log).html()] {
        assert!(drawn.contains(headline) && drawn.contains("put(k,v) is lost"), "{drawn}");
        assert!(!drawn.contains("rule broke"), "{drawn}");
    }
    let text = in_full(&log);
    assert!(text.contains("BROKEN no_loss: put(k,v) is lost"), "{text}");
    assert!(text.contains("PROMISED What is acknowledged stays."), "{text}");
}

#[test]
fn nothing_that_a_protocol_says_is_taken_for_markup() {
    let mut log = StepLog::in_order([N1, N2]);
    log.boot(N1, 0);
    log.ask(N1, RequestId(1), HOSTILE);
    let message = log.send(N1, N2, HOSTILE);
    log.persist(N1, HOSTILE);
    log.reply(N1, RequestId(1), HOSTILE);
    log.view(N1, HOSTILE);
    log.deliver(message);
    log.fire(N2, HOSTILE);
    log.fault_begins(1, HOSTILE);
    log.note(HOSTILE);
    log.fail(HOSTILE, HOSTILE);
    let diagram = Diagram::new(&log, HOSTILE).caption(HOSTILE).command(HOSTILE);
    let svg = diagram.svg();
    roxmltree::Document::parse(&svg).expect("the image is well formed");
    let html = diagram.html();
    let scripts = (html.matches("<script").count(), html.matches("</script>").count());
    assert_eq!(scripts, (2, 2));
    for drawn in [&svg, &html, &in_full(&log)] {
        assert!(!drawn.contains(['\u{1b}', '\0']), "{drawn}");
    }
    assert!(!html.contains("<b>") && !svg.contains("<b>"));
}

#[test]
fn a_page_asks_nothing_of_the_network() {
    let html = diagram(&election()).html();
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("src=\""));
    let svg = diagram(&election()).svg().replace("http://www.w3.org/2000/svg", "");
    assert!(!svg.contains("http") && !svg.contains("url("));
}

/// So many rounds of a leader's heartbeats and their answers: ten events each.
fn heartbeats(rounds: u64) -> StepLog {
    let mut log = StepLog::timed([N1, N2, N3]);
    for round in 0..rounds {
        log.set_time(Duration::from_micros(round * 500));
        log.fire(N1, "heartbeat");
        let heartbeat = Label::new("Append term=1 []").routine();
        let sent = [N2, N3].map(|to| log.send(N1, to, heartbeat.clone()));
        log.view(N1, &format!("leader@1 commit={}", round / 10));
        for (to, message) in [N2, N3].into_iter().zip(sent) {
            log.deliver(message);
            log.send(to, N1, "Appended term=1");
            log.view(to, "follower@1");
        }
    }
    log
}

#[test]
fn ten_thousand_events_make_a_page_of_bounded_size() {
    let log = heartbeats(1_000);
    assert_eq!(log.events().len(), 10_000);
    let (html, svg) = (diagram(&log).html(), diagram(&log).svg());
    assert!(html.len() < 150 * 10_000, "{} bytes", html.len());
    // Routine is hidden, and an image can't be asked to show it.
    assert!(svg.len() < 50 * 10_000, "{} bytes", svg.len());
    roxmltree::Document::parse(&svg).expect("the image is well formed");
}

#[test]
fn a_window_lies_around_the_failing_step_and_says_so() {
    let mut log = heartbeats(100);
    log.fail("invariant", "two led");
    for round in 0..1_000 {
        log.note(&format!("later {round}"));
    }
    let html = diagram(&log).window(Window::Steps(100)).html();
    assert!(html.contains("A window of 100 out of 1300 steps, from 0.0"));
    assert!(data(&html).contains("\"failed\":[80,"), "{}", data(&html));
    let all = diagram(&log).window(Window::All).html();
    assert!(all.contains("<p class=\"extent\">1300 steps."));
    let time = Duration::from_millis(10)..Duration::from_millis(11);
    let some = diagram(&log).window(Window::Time(time)).html();
    assert!(some.contains("A window of 6 out of 1300 steps"));
}
