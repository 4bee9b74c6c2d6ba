//! Charts of `code-run` as the document shows them. The agent hands them on as Python code described them
//! (`process/code_run/python.py`), and has no such types itself.

use utoipa::ToSchema;

const SOURCE: &str = include_str!("../process/code_run/python.py");

/// A figure.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct Chart {
    /// `line`, `scatter`, `bar`, `pie`, `box_and_whisker`, `composite_chart` or `unknown`.
    r#type: Option<String>,
    title: Option<String>,
    /// base64
    png: Option<String>,
    elements: Option<Vec<ChartElement>>,
    x_label: Option<String>,
    y_label: Option<String>,
    x_ticks: Option<Vec<f64>>,
    y_ticks: Option<Vec<f64>>,
    x_tick_labels: Option<Vec<String>>,
    y_tick_labels: Option<Vec<String>>,
    x_scale: Option<String>,
    y_scale: Option<String>,
}

/// A line, a set of points, a bar, a slice or a box; within a composite chart a chart, which has its elements as well.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct ChartElement {
    label: Option<String>,
    /// Of lines and sets of points.
    points: Option<Vec<Vec<f64>>>,
    /// Of bars.
    value: Option<String>,
    group: Option<String>,
    /// Of slices, in degrees.
    angle: Option<f64>,
    radius: Option<f64>,
    /// Of boxes.
    min: Option<f64>,
    first_quartile: Option<f64>,
    median: Option<f64>,
    third_quartile: Option<f64>,
    max: Option<f64>,
    outliers: Option<Vec<f64>>,
    /// Of charts.
    r#type: Option<String>,
    title: Option<String>,
    x_label: Option<String>,
    y_label: Option<String>,
    png: Option<String>,
}

/// Names that belong to an axis are put together of its letter and the rest.
#[test]
fn every_field_is_written_by_the_driver() {
    use utoipa::PartialSchema;
    for schema in [Chart::schema(), ChartElement::schema()] {
        let schema = serde_json::to_value(schema).expect("a schema is JSON");
        for field in schema["properties"].as_object().expect("fields").keys() {
            let of_axis =
                field.strip_prefix(['x', 'y']).is_some_and(|rest| SOURCE.contains(&format!("side + \"{rest}\"")));
            assert!(of_axis || SOURCE.contains(&format!("\"{field}\"")), "{field}");
        }
    }
}
