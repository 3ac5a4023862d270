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
    let points = || figure.series.iter().flat_map(|series| &series.points);
    let x_max = points().map(|(x, _)| *x).fold(0.0, f64::max);
    let y_max = points().filter_map(|(_, y)| *y).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(&figure.title, ("sans-serif", 18))
        .x_label_area_size(42)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..x_max.max(1.0), 0.0..(y_max * 1.08).max(1.0))?;
    chart
        .configure_mesh()
        .x_desc(&figure.x)
        .y_desc(&figure.y)
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
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 13))
        .draw()
}
