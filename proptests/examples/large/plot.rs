//! Draws curves as SVG: a panel each, both axes logarithmic.

use std::fmt::Write;

/// The curve of one shape.
pub struct Curve {
    pub title: &'static str,
    pub points: Vec<Point>,
}

/// A build.
pub struct Point {
    pub size: f64,
    /// CPU seconds.
    pub cpu: f64,
    /// The peak of anonymous memory in MiB.
    pub memory: f64,
}

/// A line of a panel.
struct Line {
    name: &'static str,
    colour: &'static str,
    value: fn(&Point) -> f64,
}

const LINES: [Line; 2] = [
    Line { name: "CPU, s", colour: "#c0392b", value: |point| point.cpu },
    Line { name: "memory, MiB", colour: "#2471a3", value: |point| point.memory },
];

/// The size of a panel and the space around its axes.
const WIDTH: f64 = 250.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 44.0;
const BELOW: f64 = 44.0;
/// The space for the last label.
const BESIDE: f64 = 16.0;
/// The decades of the vertical axis: seconds and MiB.
const LOWEST: i32 = -2;
const HIGHEST: i32 = 3;

/// Returns the drawing.
pub fn svg(curves: &[Curve]) -> String {
    let panels: String = curves.iter().zip(0_u32..).map(|(curve, n)| panel(curve, f64::from(n) * WIDTH)).collect();
    let width = WIDTH * f64::from(u32::try_from(curves.len()).unwrap_or(1)) + BESIDE;
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {HEIGHT}' font-family='sans-serif' font-size='11'>\n\
         <rect width='100%' height='100%' fill='white'/>\n{panels}</svg>\n"
    )
}

fn panel(curve: &Curve, left: f64) -> String {
    let (bottom, top, right) = (HEIGHT - BELOW, 20.0, left + WIDTH - 14.0);
    let left = left + LEFT;
    let exponents = curve.points.iter().map(|point| point.size.log10());
    let (first, last) = exponents.fold((f64::MAX, f64::MIN), |(low, high), e| (low.min(e), high.max(e)));
    let across = |size: f64| left + (size.log10() - first) / (last - first).max(1.0) * (right - left);
    let decades = f64::from(HIGHEST - LOWEST);
    let up = |value: f64| {
        let share = (value.max(0.01).log10() - f64::from(LOWEST)) / decades;
        bottom - share.clamp(0.0, 1.0) * (bottom - top)
    };
    let mut out = String::new();
    for decade in LOWEST..=HIGHEST {
        let value = 10_f64.powi(decade);
        let y = up(value);
        let _ = writeln!(out, "<path d='M{left:.0} {y:.0}H{right:.0}' stroke='#ddd'/>");
        let _ = writeln!(out, "<text x='{:.0}' y='{:.0}' text-anchor='end'>{value}</text>", left - 4.0, y + 4.0);
    }
    let middle = f64::midpoint(left, right);
    let _ = writeln!(out, "<text x='{middle:.0}' y='{:.0}' text-anchor='middle'>{}</text>", bottom + 34.0, curve.title);
    for point in &curve.points {
        let (x, size) = (across(point.size), point.size);
        let _ = writeln!(out, "<text x='{x:.0}' y='{:.0}' text-anchor='middle'>{size}</text>", bottom + 16.0);
    }
    for (Line { name, colour, value }, n) in LINES.iter().zip(0_u32..) {
        let points: String =
            curve.points.iter().map(|point| format!("{:.1},{:.1} ", across(point.size), up(value(point)))).collect();
        let _ = writeln!(out, "<polyline points='{}' fill='none' stroke='{colour}' stroke-width='2'/>", points.trim());
        let x = left + f64::from(n) * 70.0;
        let _ = writeln!(out, "<text x='{x:.0}' y='12' fill='{colour}'>{name}</text>");
    }
    out
}
