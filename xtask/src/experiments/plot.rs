//! A figure as an SVG picture that is readable on light and dark pages.

use super::Figure;
use anyhow::{Result, anyhow};
use plotters::prelude::*;

const SIZE: (u32, u32) = (640, 360);
/// Told apart also by people who see few colours (after Okabe and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

/// Draws it.
pub(super) fn svg(figure: &Figure) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        draw(figure, &area).map_err(|error| anyhow!("cannot draw {}: {error}", figure.name))?;
        area.present()
            .map_err(|error| anyhow!("cannot draw {}: {error}", figure.name))?;
    }
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw<'a>(
    figure: &Figure,
    area: &Area<'a>,
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    area.fill(&WHITE)?;
    let points = || {
        figure
            .series
            .iter()
            .flat_map(|series| series.points.iter().copied())
    };
    let x_max = points().map(|(x, _)| x).fold(0.0, f64::max);
    let y_max = points().filter_map(|(_, y)| y).fold(0.0, f64::max);
    let (x_end, y_end) = (x_max.max(1.0), (y_max * 1.08).max(1.0));
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(&figure.title, ("sans-serif", 18))
        .x_label_area_size(42)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..x_end, 0.0..y_end)?;
    chart
        .configure_mesh()
        .x_desc(&figure.x)
        .y_desc(&figure.y)
        .x_label_formatter(&|x| label(*x))
        .y_label_formatter(&|y| label(*y))
        .light_line_style(TRANSPARENT)
        .axis_desc_style(("sans-serif", 14))
        .draw()?;
    for (series, colour) in figure.series.iter().zip(COLOURS.iter().cycle()) {
        let reached = series.points.iter().filter_map(|(x, y)| Some((*x, (*y)?)));
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(reached.clone(), style))?
            .label(&series.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        chart.draw_series(reached.map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(free_corner(points(), x_end, y_end))
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 13))
        .draw()
}

/// A whole number without a point.
fn label(value: f64) -> String {
    if value.fract().abs() < 1e-9 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

/// The part of a chart's width and height that the legend may take.
const LEGEND: (f64, f64) = (0.35, 0.4);

/// Where the legend hides the fewest points.
fn free_corner(
    points: impl Iterator<Item = (f64, Option<f64>)> + Clone,
    x_end: f64,
    y_end: f64,
) -> SeriesLabelPosition {
    let hidden = |is_left: bool, is_upper: bool| {
        let reached = points
            .clone()
            .filter_map(|(x, y)| Some((x / x_end, y? / y_end)));
        reached
            .filter(|(x, y)| {
                let x = if is_left { *x } else { 1.0 - x };
                let y = if is_upper { 1.0 - y } else { *y };
                x < LEGEND.0 && y < LEGEND.1
            })
            .count()
    };
    let corners = [
        (SeriesLabelPosition::UpperLeft, hidden(true, true)),
        (SeriesLabelPosition::UpperRight, hidden(false, true)),
        (SeriesLabelPosition::LowerRight, hidden(false, false)),
        (SeriesLabelPosition::LowerLeft, hidden(true, false)),
    ];
    corners
        .into_iter()
        .min_by_key(|(_, hidden)| *hidden)
        .map_or(SeriesLabelPosition::UpperLeft, |(corner, _)| corner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legend_stands_where_no_line_is() {
        let falling = (0..10).map(|n| (f64::from(n), Some(f64::from(9 - n))));
        let corner = free_corner(falling, 9.0, 9.0);
        assert!(matches!(corner, SeriesLabelPosition::UpperRight));
        let rising = (0..10).map(|n| (f64::from(n), Some(f64::from(n))));
        let corner = free_corner(rising, 9.0, 9.0);
        assert!(matches!(corner, SeriesLabelPosition::UpperLeft));
    }
}
