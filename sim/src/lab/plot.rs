//! A picture of a run (SVG 1.1), panel under panel over one time axis. A few polylines, written by hand.

use std::fmt::Write as _;

use super::{LabReport, Moment};

/// In pixels.
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 15.0;
const TOP: f64 = 40.0;
const PANEL: f64 = 120.0;
const GAP: f64 = 35.0;
/// Points of a line, at most: moments that share one are shown by the greatest.
const MAX_POINTS: usize = 900;
/// Labels on the time axis, about.
const TIME_LABELS: f64 = 10.0;

struct Line {
    name: &'static str,
    colour: &'static str,
    value: fn(&Moment) -> Option<f64>,
}

struct Panel {
    title: &'static str,
    /// What is at the bottom; the top is what it must be.
    floor: f64,
    /// The least that is at the top.
    least_top: f64,
    lines: &'static [Line],
}

const PANELS: [Panel; 5] = [
    Panel {
        title: "delay, ms",
        floor: 0.0,
        least_top: 50.0,
        lines: &[
            Line { name: "mouth to ear", colour: "#1f77b4", value: |m| m.mouth_to_ear_ms.map(f64::from) },
            Line { name: "buffer", colour: "#2ca02c", value: |m| m.delay_ms.map(f64::from) },
            Line { name: "target", colour: "#ff7f0e", value: |m| m.delay_ms.map(|_| f64::from(m.target_ms)) },
        ],
    },
    Panel {
        title: "packets in 100 ms",
        floor: 0.0,
        least_top: 5.0,
        lines: &[
            Line { name: "lost", colour: "#d62728", value: |m| Some(m.lost as f64) },
            Line { name: "late", colour: "#9467bd", value: |m| Some(m.late as f64) },
            Line { name: "recovered", colour: "#2ca02c", value: |m| Some(m.recovered as f64) },
        ],
    },
    Panel {
        title: "made up, ms of 100",
        floor: 0.0,
        least_top: 50.0,
        lines: &[Line { name: "concealed", colour: "#d62728", value: |m| Some(m.concealed as f64 * 10.0) }],
    },
    Panel {
        title: "on the wire, kb/s",
        floor: 0.0,
        least_top: 50.0,
        lines: &[Line {
            name: "headers counted",
            colour: "#1f77b4",
            value: |m| Some(f64::from(m.wire_kbps)),
        }],
    },
    Panel {
        title: "level heard, dBFS",
        floor: -100.0,
        least_top: 0.0,
        lines: &[Line { name: "RMS", colour: "#7f7f7f", value: |m| Some(f64::from(m.level_db)) }],
    },
];

/// Delay, target, losses, concealment, bits and loudness of a run over time.
pub fn svg(report: &LabReport, title: &str) -> String {
    let height = TOP + PANELS.len() as f64 * (PANEL + GAP);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = draw(&mut out, &report.moments, title, height);
    out
}

fn draw(out: &mut String, moments: &[Moment], title: &str, height: f64) -> std::fmt::Result {
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">"
    )?;
    writeln!(out, "<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>")?;
    writeln!(out, "<text x=\"{LEFT}\" y=\"18\" font-size=\"13\">{}</text>", escaped(title))?;
    let end_s = moments.last().map_or(1.0, |m| m.at_ms as f64 / 1000.0);
    for (index, panel) in PANELS.iter().enumerate() {
        let axes =
            Axes { panel, top: TOP + index as f64 * (PANEL + GAP), end_s, ceiling: panel.ceiling(moments) };
        axes.frame(out)?;
        for (place, line) in panel.lines.iter().enumerate() {
            axes.line(out, moments, line)?;
            let x = WIDTH - RIGHT - 110.0 * (panel.lines.len() - place) as f64;
            let y = axes.top - 5.0;
            writeln!(out, "<text x=\"{x}\" y=\"{y}\" fill=\"{}\">{}</text>", line.colour, line.name)?;
        }
    }
    writeln!(out, "</svg>")
}

impl Panel {
    fn ceiling(&self, moments: &[Moment]) -> f64 {
        let values = moments.iter().flat_map(|m| self.lines.iter().filter_map(|line| (line.value)(m)));
        values.fold(self.least_top, f64::max)
    }
}

struct Axes<'a> {
    panel: &'a Panel,
    top: f64,
    end_s: f64,
    ceiling: f64,
}

impl Axes<'_> {
    fn x(&self, at_s: f64) -> f64 {
        LEFT + at_s / self.end_s * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.panel.floor) / (self.ceiling - self.panel.floor);
        self.top + PANEL * (1.0 - share.clamp(0.0, 1.0))
    }

    fn frame(&self, out: &mut String) -> std::fmt::Result {
        let (top, bottom, width) = (self.top, self.top + PANEL, WIDTH - LEFT - RIGHT);
        writeln!(
            out,
            "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{width}\" height=\"{PANEL}\" fill=\"none\" stroke=\"#bbbbbb\"/>"
        )?;
        writeln!(out, "<text x=\"{LEFT}\" y=\"{}\">{}</text>", top - 5.0, self.panel.title)?;
        for value in [self.panel.floor, (self.panel.floor + self.ceiling) / 2.0, self.ceiling] {
            let (x, y) = (LEFT - 5.0, self.y(value) + 4.0);
            writeln!(out, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{value:.0}</text>")?;
        }
        let step_s = label_step_s(self.end_s);
        for k in 0..=(self.end_s / step_s) as u32 {
            let at_s = f64::from(k) * step_s;
            let (x, y) = (self.x(at_s), bottom + 12.0);
            writeln!(
                out,
                "<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"#eeeeee\"/>\
                 <text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{at_s} s</text>"
            )?;
        }
        Ok(())
    }

    /// A line, broken where there is no value.
    fn line(&self, out: &mut String, moments: &[Moment], line: &Line) -> std::fmt::Result {
        write!(out, "<path fill=\"none\" stroke=\"{}\" d=\"", line.colour)?;
        let mut is_down = false;
        for group in moments.chunks(moments.len().div_ceil(MAX_POINTS).max(1)) {
            let value = group.iter().filter_map(line.value).reduce(f64::max);
            if let (Some(value), Some(first)) = (value, group.first()) {
                let (x, y) = (self.x(first.at_ms as f64 / 1000.0), self.y(value));
                write!(out, "{}{x:.1} {y:.1}", if is_down { 'L' } else { 'M' })?;
            }
            is_down = value.is_some();
        }
        writeln!(out, "\"/>")
    }
}

/// 1, 2 or 5 times a power of ten.
fn label_step_s(end_s: f64) -> f64 {
    let rough = (end_s / TIME_LABELS).max(0.1);
    let power = 10.0_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(rough)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_round_times() {
        for (end_s, step_s) in [(1.0, 0.1), (12.0, 2.0), (48.0, 5.0), (3600.0, 500.0)] {
            assert!((label_step_s(end_s) - step_s).abs() < 1e-9, "{end_s}: {}", label_step_s(end_s));
        }
    }

    #[test]
    fn a_line_is_broken_where_nothing_is_heard_and_a_long_run_is_thinned_out() {
        let heard = |at_ms, delay_ms| Moment { at_ms, delay_ms, ..Moment::default() };
        let few = [heard(100, Some(10)), heard(200, None), heard(300, Some(70))];
        let path = |moments: &[Moment]| {
            let mut out = String::new();
            let axes = Axes { panel: &PANELS[0], top: 0.0, end_s: 1.0, ceiling: 100.0 };
            axes.line(&mut out, moments, &PANELS[0].lines[1]).unwrap();
            out
        };
        assert_eq!(path(&few).matches('M').count(), 2);
        let long: Vec<Moment> = (0..36_000).map(|k| heard(k, Some(20))).collect();
        assert!(path(&long).matches('L').count() < MAX_POINTS);
    }
}
