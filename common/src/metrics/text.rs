//! Prometheus's text format, written for many series: names and labels are put together once for
//! each histogram, not for each of its twenty lines. The library's own writer takes several times as
//! long, and a worker that answers a scrape does nothing else on that core.

use std::fmt::Write as _;

use prometheus::{
    Encoder, TextEncoder,
    proto::{Histogram, LabelPair, MetricFamily, MetricType},
};

/// Writes all families.
pub(super) fn write(families: &[MetricFamily]) -> prometheus::Result<Vec<u8>> {
    let mut text = String::with_capacity(64 * 1024);
    for family in families {
        match family.get_field_type() {
            MetricType::COUNTER => plain(&mut text, family, "counter"),
            MetricType::GAUGE => plain(&mut text, family, "gauge"),
            MetricType::HISTOGRAM => histograms(&mut text, family),
            // None of ours; an application may have put its own into our registry.
            _ => {
                let mut rest = Vec::new();
                TextEncoder::new().encode(std::slice::from_ref(family), &mut rest)?;
                text.push_str(&String::from_utf8_lossy(&rest));
            }
        }
    }
    Ok(text.into_bytes())
}

fn head(text: &mut String, family: &MetricFamily, kind: &str) {
    let (name, help) = (family.name(), family.help().replace('\\', r"\\"));
    let help = help.replace('\n', r"\n");
    add(
        text,
        format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
    );
}

fn plain(text: &mut String, family: &MetricFamily, kind: &str) {
    head(text, family, kind);
    for metric in family.get_metric() {
        text.push_str(family.name());
        if !metric.get_label().is_empty() {
            text.push('{');
            labels(text, metric.get_label());
            text.push('}');
        }
        let value = match kind {
            "counter" => metric.get_counter().get_value(),
            _ => metric.get_gauge().get_value(),
        };
        add(text, format_args!(" {value}\n"));
    }
}

fn histograms(text: &mut String, family: &MetricFamily) {
    head(text, family, "histogram");
    let (name, mut own, mut bounds) = (family.name(), String::new(), Vec::new());
    for metric in family.get_metric() {
        own.clear();
        labels(&mut own, metric.get_label());
        let histogram = metric.get_histogram();
        if bounds.is_empty() {
            let each = histogram.get_bucket().iter();
            bounds.extend(each.map(|bucket| bucket.upper_bound().to_string()));
        }
        buckets(text, name, &own, &bounds, histogram);
        let (sum, count) = (histogram.get_sample_sum(), histogram.get_sample_count());
        let own = if own.is_empty() {
            String::new()
        } else {
            format!("{{{own}}}")
        };
        add(
            text,
            format_args!("{name}_sum{own} {sum}\n{name}_count{own} {count}\n"),
        );
    }
}

fn buckets(text: &mut String, name: &str, own: &str, bounds: &[String], histogram: &Histogram) {
    let comma = if own.is_empty() { "" } else { "," };
    let start = format!("{name}_bucket{{{own}{comma}le=\"");
    for (bound, bucket) in bounds.iter().zip(histogram.get_bucket()) {
        text.push_str(&start);
        text.push_str(bound);
        add(text, format_args!("\"}} {}\n", bucket.cumulative_count()));
    }
    let count = histogram.get_sample_count();
    add(text, format_args!("{start}+Inf\"}} {count}\n"));
}

fn labels(text: &mut String, pairs: &[LabelPair]) {
    for (place, pair) in pairs.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(pair.name());
        text.push_str("=\"");
        for letter in pair.value().chars() {
            match letter {
                '\\' => text.push_str(r"\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str(r"\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
}

fn add(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(more);
}
