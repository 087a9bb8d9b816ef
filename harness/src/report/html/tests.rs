// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The page is well-formed, complete and escaped.

use std::fs;

use emulator::observe::{Trace, TraceRecord};
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::json;

use super::chart::{Chart, Series};
use super::markup::{Escaped, table};
use super::scale::{Axis, Scale};
use super::*;
use crate::guest::Flavour;
use crate::sweep::trace;
use crate::sweep::trace::tests::{io, look};

/// Names, attributes' values and texts of a page that is well-formed.
#[derive(Debug, Default)]
pub(super) struct Content {
    names: Vec<String>,
    values: Vec<String>,
    pub(super) text: String,
}

impl Content {
    pub(super) fn of(page: &str) -> Self {
        let mut reader = Reader::from_str(page);
        reader.config_mut().check_end_names = true;
        let mut content = Self::default();
        let mut open = 0;
        loop {
            let event = reader.read_event().expect("well-formed");
            match &event {
                Event::Start(tag) | Event::Empty(tag) => {
                    open += i32::from(matches!(event, Event::Start(_)));
                    content
                        .names
                        .push(String::from_utf8_lossy(tag.name().as_ref()).into_owned());
                    for attribute in tag.attributes() {
                        let attribute = attribute.expect("an attribute");
                        let value = String::from_utf8_lossy(&attribute.value).into_owned();
                        content.values.push(value);
                    }
                }
                Event::End(_) => open -= 1,
                Event::Text(text) => content.text.push_str(&text.decode().expect("text")),
                Event::GeneralRef(entity) => {
                    let name = entity.decode().expect("an entity");
                    content.text.push_str(&format!("&{name};"));
                }
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(open, 0, "each element is closed");
        content
    }

    pub(super) fn number_of(&self, name: &str) -> usize {
        self.names.iter().filter(|other| *other == name).count()
    }
}

/// A run of two paths and depths; latencies of one cell, from a real fio.
fn run(folder: &Path, changed: impl Fn(&mut serde_json::Value)) -> Run {
    let row = |depth: u32, path: &str| {
        json!({
            "depth": depth, "path": path, "ios": 1000, "iops": 13_000.0 * f64::from(depth),
            "kernel": {"flavour": "patched", "release": "6.12 <&>", "sha256": "00"},
            "lat_p50_ns": 45_000, "lat_p99_ns": 90_000, "submit_ns": 20_000.0,
            "polled_commands": 1000, "irq_commands": 0, "interrupts": 0, "doorbell_traps": 1,
            "lateness_p50_ns": 0, "lateness_p99_ns": 2815, "lateness_max_ns": 90_123, "early": 7,
        })
    };
    let mut document = json!({
        "schema_version": 1,
        "environment": {"command": ["hipri", "--append", "<script>alert('&\"')</script>\u{1b}"]},
        "profile": "high-iops", "accel": "uml", "device": "hipri", "time": "real",
        "rows": [row(1, "mainline"), row(1, "aio-poll-all"), row(8, "mainline"), row(8, "aio-poll-all")],
        "summary": {"ios": 4000},
        "seed_rows": [{"depth": 1, "path": "mainline", "iops": 77_000, "lat_p50_ns": null}],
    });
    changed(&mut document);
    fs::create_dir_all(folder.join("fio")).unwrap();
    fs::write(folder.join("run.json"), document.to_string()).unwrap();
    let fio = include_str!("../../../tests/fixtures/fio-null.json");
    fs::write(folder.join("fio/008-mainline.json"), fio).unwrap();
    Run::read(folder).unwrap()
}

/// Keeps a trace of cells whose I/Os are so many nanoseconds apart, as `changed` makes them.
fn keep_trace(folder: &Path, flavour: Flavour, cells: &[u64], changed: fn(&mut TraceRecord)) {
    let file = fs::File::create(folder.join(trace::file_name(flavour))).unwrap();
    let mut kept = Trace::begin(file).unwrap();
    let mut number = 0;
    let mut keep = |mut record: TraceRecord| {
        number += 1;
        record.command.set(number);
        kept.fetched(record);
        kept.completed(record.queue.get(), number, 1, false, |_| ());
    };
    for (cell, every) in (0..).zip(cells) {
        let begin = 1_000_000_000 * cell;
        keep(look(begin + 1));
        for io_number in 0..500 {
            let mut record = io(begin + 10 + io_number * every);
            changed(&mut record);
            keep(record);
        }
        keep(look(begin + 999_999_999));
    }
    kept.end().unwrap();
}

fn page_of(changed: impl Fn(&mut serde_json::Value)) -> String {
    let folder = tempfile::tempdir().unwrap();
    page(&run(folder.path(), changed)).unwrap()
}

#[test]
fn page_has_each_chart_and_line() {
    let content = Content::of(&page_of(|_| {}));
    // I/Os per second, latency, one distribution, lateness.
    assert_eq!(content.number_of("svg"), 4);
    for name in [
        "mainline",
        "aio-poll-all",
        "mainline seed",
        "mainline p50",
        "aio-poll-all p99",
        "queue depth",
        "I/Os per second",
        "completion latency",
        "posted after the modelled time",
        "share of I/Os that took no longer",
        "Depth 8",
        "90.1 \u{b5}s",
        "13K",
    ] {
        assert!(content.text.contains(name), "{name}");
    }
    // Two depths of each line, but for the seed's one: 4 + 1, 8 and 8.
    assert_eq!(content.number_of("circle"), 21);
}

#[test]
fn page_needs_nothing_from_elsewhere() {
    let page = page_of(|_| {});
    let content = Content::of(&page);
    for name in ["script", "link", "img", "iframe"] {
        assert_eq!(content.number_of(name), 0, "{name}");
    }
    let elsewhere = content.values.iter().filter(|value| value.contains("://"));
    assert!(
        elsewhere
            .into_iter()
            .all(|value| value.starts_with("http://www.w3.org/")),
        "namespaces only"
    );
    assert!(!page.contains("url(") && !page.contains("@import"));
}

#[test]
fn page_escapes_what_others_wrote() {
    let page = page_of(|document| document["profile"] = json!("a<b>&\"c\""));
    let content = Content::of(&page);
    assert!(!page.contains("<script") && !page.contains("<b>"));
    assert!(content.text.contains("a&lt;b&gt;&amp;&quot;c&quot;"));
    assert!(content.text.contains("6.12 &lt;&amp;&gt;"));
    assert!(!page.contains('\u{1b}'));
}

#[test]
fn page_of_a_device_that_does_not_count_has_no_lateness() {
    let page = page_of(|document| {
        for row in document["rows"].as_array_mut().unwrap() {
            let row = row.as_object_mut().unwrap();
            row.retain(|key, _| !key.contains("lateness") && key != "polled_commands");
        }
        document["seed_rows"] = json!([]);
    });
    assert_eq!(Content::of(&page).number_of("svg"), 3);
    assert!(!page.contains("Lateness") && page.contains("has no figures for this profile"));
}

#[test]
fn page_of_traced_runs_has_a_timeline() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path(), |_| {});
    // Depths 1 and 8 of each path: that of 8 is shown.
    keep_trace(folder.path(), Flavour::Vanilla, &[999, 200], |_| ());
    let content = Content::of(&page(&run).unwrap());
    assert_eq!(content.number_of("svg"), 5);
    assert!(content.text.contains("mainline: 8 I/Os begin here"));
    assert_eq!(content.text.matches("I/Os begin here").count(), 1);
    keep_trace(folder.path(), Flavour::Patched, &[999, 100], |_| ());
    let traced = page(&run).unwrap();
    let content = Content::of(&traced);
    for text in [
        "mainline: 8 I/Os begin here",
        "aio-poll-all: 15 I/Os begin here",
        "cells of depth 8",
        "fetched at 1000054010 ns, served for 50 ns, unreaped for 10 ns",
    ] {
        assert!(content.text.contains(text), "{text}");
    }
    // 8 * 200 ns, of which 60 ns are the device's.
    let table = "<td>mainline</td><td>0 ns</td><td>50 ns</td><td>0 ns</td><td>10 ns</td><td>1.54 \u{b5}s</td><td>1.6 \u{b5}s</td>";
    assert!(traced.contains(table), "{traced}");
    assert_eq!(page(&run).unwrap(), traced);
}

#[test]
fn page_of_a_trace_without_reaps_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path(), |_| {});
    let known = "nobody knows when completions were reaped";
    keep_trace(folder.path(), Flavour::Vanilla, &[999, 200], |_| ());
    assert!(!page(&run).unwrap().contains(known));
    keep_trace(folder.path(), Flavour::Vanilla, &[999, 200], |record| {
        record.reaped.set(0);
    });
    let traced = page(&run).unwrap();
    assert!(traced.contains(known));
    assert!(traced.contains("<td>0 ns</td><td>-</td><td>1.55 \u{b5}s</td><td>1.6 \u{b5}s</td>"));
}

#[test]
fn page_of_a_damaged_trace_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path(), |_| {});
    let file = folder.path().join("vanilla-commands.trace");
    let failure = || page(&run).unwrap_err().to_string();
    fs::write(&file, "something else altogether").unwrap();
    assert!(
        failure().contains("vanilla-commands.trace is damaged: it is no command trace; remove")
    );
    keep_trace(folder.path(), Flavour::Vanilla, &[200], |_| ());
    assert!(failure().contains("1 cells in place of 2"));
}

#[test]
fn page_without_rows_is_a_page() {
    let page = page_of(|document| document["rows"] = json!([]));
    Content::of(&page);
    assert!(!page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn page_of_one_depth_has_a_place_for_it() {
    let page = page_of(|document| document["rows"].as_array_mut().unwrap().truncate(1));
    Content::of(&page);
    assert!(!page.contains("NaN"));
}

#[test]
fn log_axis_covers_its_figures_with_few_ticks() {
    let axis = Axis::covering(Scale::Log10, [13_000.0, 438_000.0].into_iter());
    assert_eq!(axis.ticks, [1e4, 2e4, 5e4, 1e5, 2e5, 5e5]);
    assert_eq!((axis.position(1e4), axis.position(5e5)), (0.0, 1.0));
    assert!((axis.position(7.07e4) - 0.5).abs() < 1e-3);
    let axis = Axis::covering(Scale::Log10, [200.0, 8e7].into_iter());
    assert_eq!(axis.ticks, [1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8]);
    assert_eq!(axis.position(0.0), 0.0);
}

#[test]
fn depth_axis_has_powers_of_two_inside_its_figures() {
    let axis = Axis::of_depths([1.0, 3.0, 64.0].into_iter());
    assert_eq!(axis.ticks, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]);
    assert!(axis.position(1.0) > 0.0 && axis.position(64.0) < 1.0);
    assert_eq!(Axis::of_depths([4.0].into_iter()).position(4.0), 0.5);
}

#[test]
fn choices_axis_has_them_as_ticks() {
    let axis = Axis::of_choices([2.0, 0.5, 1.0].into_iter());
    assert_eq!(axis.ticks, [0.5, 1.0, 2.0]);
    let third =
        (axis.position(1.0) - axis.position(0.5)) / (axis.position(2.0) - axis.position(0.5));
    assert!((third - 1.0 / 3.0).abs() < 1e-9, "equal differences");
    let axis = Axis::of_choices([0.1, 1.0, 10.0].into_iter());
    assert!((axis.position(1.0) - 0.5).abs() < 1e-9, "equal ratios");
    assert!(axis.position(0.1) > 0.0 && axis.position(10.0) < 1.0);
    let many = Axis::of_choices((0..100).map(f64::from));
    assert_eq!((many.ticks.len(), many.ticks[1]), (10, 10.0));
}

#[test]
fn span_axis_ends_where_the_span_does() {
    let axis = Axis::of_span(31_800.0);
    assert_eq!(axis.ticks, [0.0, 5e3, 1e4, 1.5e4, 2e4, 2.5e4, 3e4]);
    assert_eq!((axis.position(0.0), axis.position(31_800.0)), (0.0, 1.0));
    assert!((axis.position(15_900.0) - 0.5).abs() < 1e-9);
    assert_eq!(Axis::of_span(1.0).ticks, [0.0, 1.0]);
    assert_eq!(Axis::of_span(9.5).ticks.len(), 5);
}

#[test]
fn linear_axis_covers_its_figures() {
    let axis = Axis::covering(Scale::Linear, [13.0, 58.0].into_iter());
    assert_eq!(
        axis.ticks,
        [
            10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 55.0, 60.0
        ]
    );
}

#[test]
fn tail_axis_begins_at_nothing_and_ends_at_the_farthest() {
    let axis = Axis::covering(Scale::Tail, [0.2, 0.9995].into_iter());
    assert_eq!(axis.ticks, [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999]);
    assert!((axis.position(0.99) - 0.5).abs() < 1e-9);
    let axis = Axis::covering(Scale::Tail, [0.999_999_9].into_iter());
    assert_eq!(axis.position(0.999_999_9), 1.0);
}

#[test]
fn escaped_text_is_text() {
    let text = Escaped("<a href='x'>&\"\u{0}\n").to_string();
    assert_eq!(text, "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\u{fffd}\n");
    let table = table(&["<".into()], &[vec!["&".into()]]);
    assert!(table.contains("<th>&lt;</th>") && table.contains("<td>&amp;</td>"));
}

/// The picture itself, to the letter: charts change on purpose only.
#[test]
fn chart_of_two_points_is_as_it_was() {
    let svg = Chart {
        title: "A < B".into(),
        size: (300.0, 200.0),
        x: Axis::of_depths([1.0, 2.0].into_iter()),
        x_title: ("depth", |figure| format!("{figure}")),
        y: Axis::covering(Scale::Log10, [10.0, 20.0].into_iter()),
        y_title: ("IOPS", |figure| format!("{figure}")),
        series: vec![Series {
            name: "a&b".into(),
            class: "mainline",
            dashed: true,
            marks: true,
            points: vec![(1.0, 10.0), (2.0, 20.0)],
        }],
    }
    .svg();
    assert_eq!(svg, include_str!("../../../tests/fixtures/chart.svg"));
}
