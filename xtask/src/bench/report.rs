//! Shows what was measured: a table, data for machines, a chart.

use std::fmt::Write as _;
use std::time::Duration;

use crate::bench::measure::Figures;

/// One program in one case.
#[derive(Debug, Clone)]
pub struct Row {
    pub case: &'static str,
    pub program: String,
    pub figures: Figures,
    /// bkhost's figures in the same case.
    pub own: Figures,
    pub aim: Aim,
}

/// What bkhost may take at most, beside the program of a row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Aim {
    /// Share of its time.
    pub wall: Option<f64>,
    /// Share of its processor time.
    pub cpu: Option<f64>,
    /// Share of its peak memory.
    pub memory: Option<f64>,
    /// Time beyond its own, where a share would say nothing.
    pub longer: Option<Duration>,
}

impl Row {
    fn wall_ratio(&self) -> f64 {
        self.own.wall_ms() / self.figures.wall_ms()
    }

    fn cpu_ratio(&self) -> f64 {
        self.own.cpu_ms() / self.figures.cpu_ms()
    }

    fn memory_ratio(&self) -> f64 {
        self.own.memory_mib() / self.figures.memory_mib()
    }
}

/// A Markdown table. The ratios are bkhost's share of the other program's time, processor time and memory.
pub fn markdown(heading: &str, rows: &[Row]) -> String {
    let mut text = format!("# Benchmarks\n\n{heading}\n\n");
    text.push_str("| case | program | median | range | CPU | peak memory | bkhost's time | bkhost's CPU | bkhost's memory |\n|---|---|---|---|---|---|---|---|---|\n");
    for row in rows {
        let (least, most) = row.figures.range_ms();
        let _ = writeln!(
            text,
            "| {} | {} | {} ms | {}–{} | {} | {} | {} | {} | {} |",
            row.case,
            row.program,
            ms(row.figures.wall_ms()),
            ms(least),
            ms(most),
            cpu(row.figures.cpu_ms()),
            mib(row.figures.memory_mib()),
            time(row),
            share(row, row.cpu_ratio(), row.aim.cpu),
            share(row, row.memory_ratio(), row.aim.memory),
        );
    }
    text
}

/// Short times need more digits.
fn ms(value: f64) -> String {
    if value < 5.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.1}")
    }
}

/// What is short has none: it is below what can be measured.
fn cpu(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.0} ms")
    } else {
        "–".to_owned()
    }
}

fn mib(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.1} MiB")
    } else {
        "–".to_owned()
    }
}

fn time(row: &Row) -> String {
    let Some(most) = row.aim.longer else {
        return share(row, row.wall_ratio(), row.aim.wall);
    };
    let longer = row.own.wall_ms() - row.figures.wall_ms();
    let most = most.as_secs_f64() * 1000.0;
    if longer <= most {
        format!("{longer:+.2} ms (aim {most:+.2} ms)")
    } else {
        format!("**{longer:+.2} ms** (aim {most:+.2} ms missed)")
    }
}

fn share(row: &Row, ratio: f64, aim: Option<f64>) -> String {
    match aim {
        _ if is_own(row) || !ratio.is_finite() => String::new(),
        None => format!("{ratio:.2}×"),
        Some(aim) if ratio <= aim => format!("{ratio:.2}× (aim {aim:.2}×)"),
        Some(aim) => format!("**{ratio:.2}×** (aim {aim:.2}× missed)"),
    }
}

fn is_own(row: &Row) -> bool {
    row.program.starts_with("bkhost")
}

/// Every single measurement, in milliseconds and KiB.
pub fn json(heading: &str, rows: &[Row]) -> String {
    let rows: Vec<String> = rows.iter().map(json_row).collect();
    format!(
        "{{\n  \"heading\": {heading:?},\n  \"rows\": [\n{}\n  ]\n}}\n",
        rows.join(",\n")
    )
}

fn json_row(row: &Row) -> String {
    let ms = |list: &[Duration]| {
        let texts = list
            .iter()
            .map(|one| format!("{:.3}", one.as_secs_f64() * 1000.0));
        texts.collect::<Vec<_>>().join(", ")
    };
    let memory: Vec<String> = row.figures.memory.iter().map(u64::to_string).collect();
    format!(
        "    {{\"case\": {:?}, \"program\": {:?}, \"wall_ms\": [{}], \"cpu_ms\": [{}], \"memory_kib\": [{}], \"wall_ratio\": {}, \"cpu_ratio\": {}, \"memory_ratio\": {}}}",
        row.case,
        row.program,
        ms(&row.figures.wall),
        ms(&row.figures.cpu),
        memory.join(", "),
        json_number(row.wall_ratio()),
        json_number(row.cpu_ratio()),
        json_number(row.memory_ratio()),
    )
}

fn json_number(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.4}")
    } else {
        "null".to_owned()
    }
}

const BAR_HEIGHT: f64 = 18.0;
const BAR_SPACE: f64 = 320.0;
const LABEL_SPACE: f64 = 230.0;

/// Two columns of bars, time and memory; in each case the largest fills its column.
pub fn svg(rows: &[Row]) -> String {
    // There are a few rows: the conversion is exact.
    let height = 40.0 + rows.len() as f64 * (BAR_HEIGHT + 8.0) + 10.0;
    let width = LABEL_SPACE + 2.0 * (BAR_SPACE + 90.0);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let columns = [
        (LABEL_SPACE, "median time"),
        (LABEL_SPACE + BAR_SPACE + 90.0, "peak memory"),
    ];
    for (x, title) in columns {
        let _ = writeln!(
            text,
            "<text x=\"{x}\" y=\"20\" font-weight=\"bold\">{title}</text>"
        );
    }
    for (index, row) in rows.iter().enumerate() {
        let y = 32.0 + index as f64 * (BAR_HEIGHT + 8.0);
        let label = format!("{} · {}", row.case, row.program);
        let _ = writeln!(text, "<text x=\"8\" y=\"{:.0}\">{label}</text>", y + 13.0);
        let alike = || rows.iter().filter(|other| other.case == row.case);
        let wall = row.figures.wall_ms() / alike().map(|other| other.figures.wall_ms()).fold(0.0, f64::max);
        let memory = row.figures.memory_mib()
            / alike()
                .map(|other| other.figures.memory_mib())
                .fold(0.0, f64::max);
        let bars = [
            (wall, format!("{} ms", ms(row.figures.wall_ms()))),
            (memory, mib(row.figures.memory_mib())),
        ];
        for ((x, _), (share, words)) in columns.iter().zip(bars) {
            if share.is_finite() {
                bar(&mut text, *x, y, share * BAR_SPACE, &words, is_own(row));
            }
        }
    }
    text.push_str("</svg>\n");
    text
}

fn bar(text: &mut String, x: f64, y: f64, length: f64, words: &str, own: bool) {
    let colour = if own { "#2563eb" } else { "#9ca3af" };
    let _ = writeln!(
        text,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{colour}\"/>"
    );
    let _ = writeln!(
        text,
        "<text x=\"{:.1}\" y=\"{:.0}\">{words}</text>",
        x + length + 6.0,
        y + 13.0
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn row(program: &str, own: u64, other: u64, aim: Option<f64>) -> Row {
        let figures = |ms| Figures {
            wall: vec![Duration::from_millis(ms)],
            cpu: Vec::new(),
            memory: vec![ms * 1024],
        };
        Row {
            case: "version",
            program: program.into(),
            figures: figures(other),
            own: figures(own),
            aim: Aim {
                wall: aim,
                ..Aim::default()
            },
        }
    }

    #[test]
    fn a_missed_aim_is_said() {
        let rows = [
            row("bkhost", 2, 2, None),
            row("buildx", 2, 10, Some(0.15)),
            row("buildctl", 2, 10, Some(0.5)),
        ];
        let text = markdown("heading", &rows);
        assert!(text.contains("**0.20×** (aim 0.15× missed)"), "{text}");
        assert!(text.contains("| 0.20× (aim 0.50×) |  | 0.20× |"), "{text}");
        assert!(
            text.contains("| version | bkhost | 2.00 ms | 2.00–2.00 | – | 2.0 MiB |  |  |  |"),
            "{text}"
        );
    }

    #[test]
    fn a_difference_may_be_the_aim_and_memory_may_be_unknown() {
        let mut native = row("native", 3, 2, None);
        native.figures.memory.clear();
        native.aim.longer = Some(Duration::from_millis(1));
        let text = markdown("heading", &[native.clone()]);
        assert!(
            text.contains("| 2.00–2.00 | – | – | +1.00 ms (aim +1.00 ms) |  |  |"),
            "{text}"
        );
        native.aim.longer = Some(Duration::from_micros(900));
        let text = markdown("heading", &[native.clone()]);
        assert!(text.contains("**+1.00 ms** (aim +0.90 ms missed)"), "{text}");
        assert!(json("heading", &[native]).contains("\"memory_ratio\": null"));
    }

    #[test]
    fn processor_time_has_a_share_and_an_aim() {
        let mut row = row("buildx", 2, 4, None);
        row.own.cpu = vec![Duration::from_millis(500)];
        row.figures.cpu = vec![Duration::from_millis(2000)];
        row.aim.cpu = Some(0.5);
        let text = markdown("heading", &[row]);
        assert!(
            text.contains("| 2000 ms |") && text.contains("| 0.25× (aim 0.50×) |"),
            "{text}"
        );
    }

    #[test]
    fn the_longest_bar_fills_its_column() {
        let text = svg(&[row("bkhost", 2, 2, None), row("buildx", 2, 4, None)]);
        assert!(
            text.contains("width=\"320.0\"") && text.contains("width=\"160.0\""),
            "{text}"
        );
    }

    #[test]
    fn every_measurement_is_in_the_data() {
        let text = json("a \"heading\"", &[row("buildx", 2, 4, None)]);
        assert!(
            text.contains(r#""heading": "a \"heading\"""#) && text.contains("\"wall_ms\": [4.000]"),
            "{text}"
        );
    }
}
