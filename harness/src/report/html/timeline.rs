// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A few I/Os of each path as bars over time, from the device's command trace.

use emulator::observe::TraceRecord;

use super::Section;
use super::figures::{nanoseconds, short, time};
use super::frame::{BOTTOM, Frame, begin, legend, put};
use super::markup::{Escaped, table};
use super::scale::Axis;
use crate::exit::Failure;
use crate::guest::Flavour;
use crate::report::read::Run;
use crate::sweep::trace::{Tracks, due, taken};
use crate::sweep::{IoPath, pace};

/// I/Os of the slowest path that are shown from beginning to end.
const FEW: usize = 8;

/// The most that the device fetches of any path in what is shown.
const MOST: usize = 40;

/// Deeper queues have more rows than anybody looks at.
const DEEPEST: u32 = 16;

/// What happens to an I/O at the device, in this order: a class of the style sheet, and its name.
const PARTS: [(&str, &str); 4] = [
    ("queued", "queued in the device"),
    ("served", "served"),
    ("late", "late"),
    ("unreaped", "completed, not reaped"),
];

const WIDTH: f64 = 920.0;
/// Height of a path's name, and of each row below it.
const HEAD: f64 = 24.0;
const ROW: f64 = 13.0;
/// Room between paths.
const GAP: f64 = 8.0;

/// A path's part of the picture.
struct Strip {
    path: IoPath,
    /// The device's time at which it begins.
    begin: u64,
    /// Commands that are in flight then.
    before: Vec<TraceRecord>,
    /// Commands that are fetched from then on, by the time of that; one more than is shown.
    after: Vec<TraceRecord>,
    means: Means,
}

/// Where the time of an I/O goes, in nanoseconds: means of what is measured of a cell.
struct Means {
    parts: [f64; PARTS.len()],
    /// Whether it is known when completions were reaped.
    reaped: bool,
    /// Depth / (I/Os a second): how long an I/O and what comes before the next one keep a place in
    /// the queue.
    all: f64,
}

/// The section; nothing where no command was traced, or only in deeper queues.
pub(super) fn of(run: &Run) -> Result<Option<Section>, Failure> {
    let Some(depth) = depth(&run.document.depths()) else {
        return Ok(None);
    };
    let mut strips = Vec::new();
    for flavour in [Flavour::Vanilla, Flavour::Patched] {
        let cells = run.commands(flavour)?.into_iter();
        let here = cells.filter(|(row, _)| row.depth == depth);
        strips.extend(here.filter_map(|(row, commands)| Strip::of(row.path, depth, commands)));
    }
    if strips.is_empty() {
        return Ok(None);
    }
    strips.sort_by_key(|strip| strip.path);
    let unknown = match strips.iter().all(|strip| strip.means.reaped) {
        true => "",
        false => {
            " Where doorbells do not trap, nobody knows when completions were reaped: that is in the host's time."
        }
    };
    Ok(Some(Section {
        title: "A few I/Os on their way",
        body: format!(
            "{}<p>From the middle of the cells of depth {depth}, all paths to the same scale. Each row is a place in the queue; \
             where it has no bar, the host is at work: it has reaped one I/O, and the device has not fetched the next.</p>\n{}\
             <p>Means of what is measured of the cells. All is depth / (I/Os per second), and what is not the device's is the host's.{unknown}</p>\n",
            picture(&strips, depth),
            means_table(&strips)
        ),
    }))
}

/// The depth that tells most in few rows: the largest up to 4, where batches can be seen, or the
/// next one.
fn depth(measured: &[u32]) -> Option<u32> {
    let up_to_4 = measured.iter().rfind(|depth| (2..=4).contains(*depth));
    let next = || measured.iter().find(|depth| (5..=DEEPEST).contains(*depth));
    up_to_4
        .or_else(next)
        .or(measured.iter().find(|depth| **depth == 1))
        .copied()
}

impl Strip {
    /// Of a cell's commands, in the order in which they were taken; nothing where they are too few.
    fn of(path: IoPath, depth: u32, mut commands: Vec<TraceRecord>) -> Option<Self> {
        let measured = pace::measured(commands.len(), depth)?;
        let means = Means::of(
            &commands[measured.clone()],
            depth,
            pace::rate(&commands, depth)?,
        );
        let begin = commands[measured.start.midpoint(measured.end)]
            .fetched
            .get();
        commands.sort_by_key(|command| command.fetched.get());
        let first = commands.partition_point(|command| command.fetched.get() < begin);
        let in_flight = |command: &&TraceRecord| taken(command) > begin;
        Some(Self {
            path,
            begin,
            before: commands[..first]
                .iter()
                .filter(in_flight)
                .copied()
                .collect(),
            after: commands[first..].iter().take(MOST + 1).copied().collect(),
            means,
        })
    }

    /// How long it takes until the first few are taken.
    fn few(&self) -> u64 {
        let last = self.after.iter().take(FEW).map(taken).max();
        last.map_or(0, |last| last.saturating_sub(self.begin))
    }

    /// How long it takes until more than enough are fetched.
    fn most(&self) -> u64 {
        let next = self.after.get(MOST);
        next.map_or(u64::MAX, |next| next.fetched.get() - self.begin)
    }

    /// The commands that are there within `span`, each with its row; and how many rows there are.
    fn rows(&self, span: u64) -> (Vec<(usize, &TraceRecord)>, usize) {
        let mut tracks = Tracks::default();
        let within = |command: &&TraceRecord| command.fetched.get() < self.begin + span;
        let all = self.before.iter().chain(&self.after).filter(within);
        let rows = all
            .map(|command| (tracks.place(command), command))
            .collect();
        (rows, tracks.count())
    }

    fn draw(&self, svg: &mut String, frame: &Frame, axis: &Axis, span: u64) {
        let (commands, rows) = self.rows(span);
        let fetched = commands.len() - self.before.len();
        put(
            svg,
            format_args!(
                "<path class=\"series {path}\" d=\"M{left},{line:.1}h20\"/>\n\
                 <text x=\"{text}\" y=\"{base:.1}\">{path}: {fetched} I/Os begin here</text>\n",
                path = self.path.name(),
                left = frame.left + 6.0,
                text = frame.left + 32.0,
                line = frame.top + 12.0,
                base = frame.top + 16.0,
            ),
        );
        let middle = |row: usize| frame.top + HEAD + ROW * (number(row) + 0.5);
        for row in 0..rows {
            put(
                svg,
                format_args!(
                    "<path class=\"grid\" d=\"M{},{:.1}h{}\"/>\n",
                    frame.left,
                    middle(row),
                    frame.width
                ),
            );
        }
        for (row, command) in commands {
            let x = |at: u64| frame.x(axis.position(nanoseconds(at.saturating_sub(self.begin))));
            put(
                svg,
                format_args!("<g><title>{}</title>", Escaped(told(command))),
            );
            for ((class, _), (from, to)) in PARTS.iter().zip(parts(command)) {
                let (from, to) = (x(from), x(to));
                if to > from {
                    put(
                        svg,
                        format_args!(
                            "<path class=\"part {class}\" d=\"M{from:.1},{:.1}H{to:.1}\"/>",
                            middle(row)
                        ),
                    );
                }
            }
            svg.push_str("</g>\n");
        }
    }
}

impl Means {
    /// Of the commands that are counted, whose cell had that rate.
    fn of(counted: &[TraceRecord], depth: u32, rate: f64) -> Self {
        let mut means = [0.0; PARTS.len()];
        for command in counted {
            for (mean, (from, to)) in means.iter_mut().zip(parts(command)) {
                *mean += nanoseconds(to - from) / number(counted.len());
            }
        }
        Self {
            parts: means,
            reaped: counted.iter().any(|command| command.reaped.get() > 0),
            all: f64::from(depth) * 1e9 / rate,
        }
    }
}

/// From when to when each of [`PARTS`] lasts.
fn parts(command: &TraceRecord) -> [(u64, u64); PARTS.len()] {
    let fetched = command.fetched.get();
    let completed = command.completed.get().max(fetched);
    let due = due(command).clamp(fetched, completed);
    let started = command.started.get().min(due).max(fetched);
    [
        (fetched, started),
        (started, due),
        (due, completed),
        (completed, taken(command).max(completed)),
    ]
}

/// A command in words.
fn told(command: &TraceRecord) -> String {
    let mut text = format!("fetched at {} ns", command.fetched);
    for ((class, _), (from, to)) in PARTS.iter().zip(parts(command)) {
        if to > from {
            text.push_str(&format!(", {class} for {}", time(nanoseconds(to - from))));
        }
    }
    text
}

fn picture(strips: &[Strip], depth: u32) -> String {
    let few = strips.iter().map(Strip::few).max().unwrap_or(0);
    let most = strips.iter().map(Strip::most).min().unwrap_or(0);
    let span = few.min(most).max(1);
    let heights: Vec<f64> = strips
        .iter()
        .map(|strip| HEAD + ROW * number(strip.rows(span).1) + GAP)
        .collect();
    let samples = PARTS.map(|(class, name)| (format!("part {class}"), name.to_owned()));
    let host = ("grid".to_owned(), "the host's time".to_owned());
    let (legend, top) = legend(WIDTH, samples.into_iter().chain([host]));
    let size = (WIDTH, top + heights.iter().sum::<f64>() + BOTTOM);
    let frame = Frame::below(top, size);
    let axis = Axis::of_span(nanoseconds(span));
    let title = format!("I/Os at depth {depth} over time, by path");
    let mut svg = begin(size, &title);
    svg.push_str(&legend);
    frame.plot(&mut svg);
    frame.grid(&mut svg, &axis, |tick| short(tick / 1000.0));
    frame.title(&mut svg, "time in \u{b5}s");
    let mut top = frame.top;
    for (strip, height) in strips.iter().zip(heights) {
        let part = Frame {
            top,
            height,
            ..frame
        };
        strip.draw(&mut svg, &part, &axis, span);
        top += height;
    }
    svg.push_str("</svg>\n");
    svg
}

fn means_table(strips: &[Strip]) -> String {
    let header = [
        "Path",
        "queued",
        "served",
        "late",
        "not reaped",
        "host",
        "all",
    ];
    let rows = strips.iter().map(|strip| {
        let means = &strip.means;
        let [queued, served, late, unreaped] = means.parts.map(time);
        let host = (means.all - means.parts.iter().sum::<f64>()).max(0.0);
        vec![
            strip.path.to_string(),
            queued,
            served,
            late,
            if means.reaped {
                unreaped
            } else {
                "-".to_owned()
            },
            time(host),
            time(means.all),
        ]
    });
    table(&header.map(str::to_owned), &rows.collect::<Vec<_>>())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command([fetched, started, due, completed, reaped]: [u64; 5]) -> TraceRecord {
        let mut record = TraceRecord::default();
        record.fetched.set(fetched);
        record.started.set(started);
        record.due.set(due);
        record.completed.set(completed);
        record.reaped.set(reaped);
        record
    }

    /// I/Os that are alone in the queue, so many nanoseconds apart.
    fn strip(path: IoPath, every: u64) -> Strip {
        let at = |n| command([1, 101, 5_001, 5_201, 6_001].map(|time| time + n * every));
        Strip::of(path, 1, (0..500).map(at).collect()).unwrap()
    }

    #[test]
    fn parts_follow_each_other_whatever_the_trace_says() {
        let of = |times| parts(&command(times));
        let usual = of([10, 20, 50, 60, 90]);
        assert_eq!(usual, [(10, 20), (20, 50), (50, 60), (60, 90)]);
        // Neither timed nor known to be reaped.
        let least = of([10, 0, 0, 60, 0]);
        assert_eq!(least, [(10, 10), (10, 60), (60, 60), (60, 60)]);
        for nonsense in [[90, 60, 50, 20, 10], [5, 0, 0, 0, 0], [10, 99, 20, 50, 30]] {
            let parts = of(nonsense);
            assert!(parts.iter().all(|(from, to)| from <= to), "{parts:?}");
            assert!(parts.windows(2).all(|pair| pair[0].1 == pair[1].0));
        }
    }

    #[test]
    fn depth_is_up_to_4_or_the_next() {
        for (measured, expected) in [
            (&[1, 2, 4, 8, 64][..], Some(4)),
            (&[1, 2, 8], Some(2)),
            (&[1, 8, 16], Some(8)),
            (&[1, 64], Some(1)),
            (&[32, 64], None),
            (&[], None),
        ] {
            assert_eq!(depth(measured), expected, "{measured:?}");
        }
    }

    #[test]
    fn strip_begins_in_the_middle_with_what_is_in_flight() {
        // Of 500 commands the 50th to the 498th are measured; each is in flight for 6 us.
        let strip = strip(IoPath::Mainline, 2_000);
        assert_eq!(strip.begin, 1 + 274 * 2_000);
        assert_eq!((strip.before.len(), strip.after.len()), (2, MOST + 1));
        assert_eq!(strip.few(), 7 * 2_000 + 6_000);
        assert_eq!(strip.most(), 40 * 2_000);
        let (commands, rows) = strip.rows(4_000);
        assert_eq!((commands.len(), rows), (4, 3));
    }

    #[test]
    fn means_add_up_to_the_time_between_two_ios() {
        let means = strip(IoPath::Mainline, 10_000).means;
        for (mean, expected) in means.parts.into_iter().zip([100.0, 4_900.0, 200.0, 800.0]) {
            assert!((mean - expected).abs() < 1e-6, "{mean}");
        }
        assert!((means.all - 10_000.0).abs() < 1e-6 && means.reaped);
    }

    #[test]
    fn picture_has_one_scale_and_few_of_the_slowest() {
        let few = [
            strip(IoPath::Mainline, 10_000),
            strip(IoPath::AioPollAll, 5_000),
        ];
        let svg = picture(&few, 1);
        assert!(svg.contains("mainline: 8 I/Os begin here"), "{svg}");
        assert!(svg.contains("aio-poll-all: 16 I/Os begin here"), "{svg}");
        // 76 us are 822 units wide: the first I/O of both is served for 4.9 us from 0.1 us on.
        let served = "<path class=\"part served\" d=\"M75.1,";
        assert_eq!(svg.matches(served).count(), 2, "{svg}");
        assert_eq!(
            svg.matches("H128.1\"/><path class=\"part late\"").count(),
            2
        );
        // A hundred times as slow: the faster one limits what is shown.
        let far_apart = [
            strip(IoPath::Mainline, 500_000),
            strip(IoPath::AioPollAll, 5_000),
        ];
        let svg = picture(&far_apart, 1);
        assert!(svg.contains("mainline: 1 I/Os begin here"), "{svg}");
        assert!(svg.contains("aio-poll-all: 40 I/Os begin here"), "{svg}");
    }
}
