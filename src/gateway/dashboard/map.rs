//! The regions on a map, with the requests that go between them.

use std::fmt::Write as _;

use super::seen::Seen;
use tidegate_traffic::place::aws_place;

/// The drawing's size; `map.svg` has the same.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
/// Latitudes at its upper and lower edge: further north and south there are no regions.
const NORTH: f64 = 76.0;
const SOUTH: f64 = -56.0;

/// Draws the regions of a policy; nothing for one region alone, or where no place is known.
///
/// It shows nothing that the text beside it does not say, and is hidden from screen readers.
pub(super) fn map(html: &mut String, seen: &Seen, with_ways: bool) {
    let regions = &seen.topology.regions;
    let placed = regions.iter();
    let placed = placed.filter_map(|region| Some((region, place(&region.region)?)));
    let placed: Vec<_> = placed.collect();
    if placed.len() < 2 {
        return;
    }
    let _ = write!(
        html,
        "<svg class=\"map\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" aria-hidden=\"true\">\
         <image href=\"/map.svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>"
    );
    let own = placed
        .iter()
        .find(|(it, _)| it.region == seen.topology.region);
    if let Some((_, (x, y))) = own.filter(|_| with_ways) {
        for (region, (to_x, to_y)) in &placed {
            let rps = seen.rates.of_region(&region.region);
            if region.region != seen.topology.region {
                let (middle, bow) = ((x + to_x) / 2.0, (y + to_y) / 2.0 - (x - to_x).abs() * 0.18);
                let flow = flow(rps);
                let _ = write!(
                    html,
                    "<path class=\"way flow{flow}\" d=\"M{x:.0} {y:.0}Q{middle:.0} {bow:.0} {to_x:.0} {to_y:.0}\"/>"
                );
            }
        }
    }
    for (region, (x, y)) in &placed {
        let own = if region.region == seen.topology.region {
            " own"
        } else {
            ""
        };
        let state = super::markup::Text(&region.state);
        let _ = write!(
            html,
            "<circle class=\"spot {state}{own}\" cx=\"{x:.0}\" cy=\"{y:.0}\" r=\"7\"/>\
             <text x=\"{x:.0}\" y=\"{:.0}\">{}</text>",
            y + 20.0,
            super::markup::Text(&region.region)
        );
    }
    html.push_str("</svg>");
}

/// How wide a way is drawn: 0 without requests, else by their order of magnitude.
fn flow(rps: f64) -> u8 {
    match rps {
        it if it <= 0.0 => 0,
        it if it < 10.0 => 1,
        it if it < 1_000.0 => 2,
        _ => 3,
    }
}

/// Where a region is drawn, if it is one of AWS's.
fn place(region: &str) -> Option<(f64, f64)> {
    let point = aws_place(region)?;
    let x = (point.longitude() + 180.0) / 360.0 * WIDTH;
    Some((x, (NORTH - point.latitude()) / (NORTH - SOUTH) * HEIGHT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_where_they_are_and_on_the_map() {
        let (virginia, singapore) = (
            place("us-east-1").unwrap(),
            place("ap-southeast-1").unwrap(),
        );
        assert!(virginia.0 < singapore.0 && virginia.1 < singapore.1);
        for name in ["eu-north-1", "ap-southeast-2", "us-west-2"] {
            let (x, y) = place(name).unwrap();
            assert!(
                (0.0..WIDTH).contains(&x) && (0.0..HEIGHT).contains(&y),
                "{name}"
            );
        }
        assert_eq!(place("mars-north-1"), None);
    }
}
