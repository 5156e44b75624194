//! `doctor`: what this machine and terminal can do, and what to do about what is missing.

mod check;

use std::env;
use std::io::IsTerminal;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::options::Options;
use super::output::Output;
use crate::arch::{Arch, PRESETS};
use crate::data::Dataset;
use crate::error::Error;
use crate::gpu::{self, Driver};
use crate::nn::{self, DeviceChoice, DeviceInfo, Setup};
use crate::tui::graphics::{Graphics, probe};
use crate::tui::theme::{Background, ColorDepth, Glyphs, Theme};

/// One thing that was looked at.
struct Finding {
    name: &'static str,
    found: String,
    /// What to do, where something is missing.
    advice: Option<String>,
}

impl Finding {
    fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, found: found.into(), advice: None }
    }

    fn poor(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Looks at everything and tells.
///
/// # Errors
/// If the data can't be read or no device computes, so that the lab would not work; or if a GPU fails or is wrong.
pub fn run(options: &Options, output: &Output) -> Result<(), Error> {
    let (data, dataset) = data(options);
    let (dataset, data_error) = dataset.map_or_else(|error| (None, Some(error)), |dataset| (Some(dataset), None));
    let (device, info) = device(options);
    let (info, device_error) = info.map_or_else(|error| (None, Some(error)), |info| (Some(info), None));
    let findings =
        [terminal(), size(), colours(), graphics(options), connection(), data, sessions(options), device, gpu()];
    // A GPU computes in other ways than the CPU: it is asked whether it comes to the same.
    let checked = match (info, dataset) {
        (Some(info), Some(dataset)) if info.device != "cpu" => Some(check::run(options, &dataset)),
        _ => None,
    };
    let mut object: Map<String, Value> =
        std::iter::once(("event".to_owned(), json!("doctor")))
            .chain(findings.iter().map(|finding| {
                (finding.name.replace(' ', "_"), json!({"found": finding.found, "advice": finding.advice}))
            }))
            .collect();
    let line = |finding: &Finding| {
        let mark = if finding.advice.is_some() { '!' } else { '✓' };
        let advice = finding.advice.as_ref().map(|advice| format!("\n               → {advice}")).unwrap_or_default();
        format!("{mark} {:<12} {}{advice}", finding.name, finding.found)
    };
    let mut lines = findings.iter().map(line).collect::<Vec<_>>().join("\n");
    let check_error = match checked {
        Some(Ok(report)) => {
            lines = format!("{lines}\n\n{}", report.text());
            object.insert("device_check".into(), report.json());
            report.failure()
        }
        Some(Err(error)) => Some(error),
        None => None,
    };
    output.data(&Value::Object(object), &lines);
    data_error.or(device_error).or(check_error).map_or(Ok(()), Err)
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn terminal() -> Finding {
    let kind = variable("TERM").unwrap_or_else(|| "unknown".into());
    if !std::io::stdout().is_terminal() {
        Finding::poor("terminal", "standard output is no terminal", "the lab needs one; `mnist-lab train` does not")
    } else if super::lab::is_dumb() {
        Finding::poor("terminal", kind, "the lab can't draw there; `mnist-lab repl` and `mnist-lab train` need no more")
    } else {
        Finding::good("terminal", kind)
    }
}

fn size() -> Finding {
    match crossterm::terminal::size() {
        Ok((columns, rows)) if columns < 80 || rows < 24 => Finding::poor(
            "size",
            format!("{columns}×{rows}"),
            "the lab is made for 80×24 and more; 120×40 shows all at once",
        ),
        Ok((columns, rows)) => Finding::good("size", format!("{columns}×{rows}")),
        Err(_) => Finding::poor("size", "unknown", "no terminal tells its size here"),
    }
}

fn colours() -> Finding {
    match ColorDepth::detect(variable) {
        ColorDepth::None => Finding::good("colours", "none, since NO_COLOR is set"),
        ColorDepth::True => Finding::good("colours", "16 million"),
        ColorDepth::Indexed => Finding::poor(
            "colours",
            "256",
            "if your terminal can do more, `export COLORTERM=truecolor` (ssh does not carry it over by itself)",
        ),
        ColorDepth::Sixteen => Finding::poor("colours", "16", "`export TERM=xterm-256color` if your terminal is one"),
    }
}

fn graphics(options: &Options) -> Finding {
    match super::lab::choice(options.config.graphics.as_deref()) {
        Ok(choice) => {
            let graphics = Graphics::new(choice, variable, Graphics::cell_size()).proven(probe::version);
            let theme = Theme::new(ColorDepth::detect(variable), Background::Dark, Glyphs::detect(variable));
            Finding::good("graphics", graphics.name(&theme))
        }
        Err(error) => Finding::poor("graphics", "unknown", error.to_string()),
    }
}

fn connection() -> Finding {
    let over = |name, what| variable(name).map(|_| what);
    let path = [over("SSH_CONNECTION", "ssh"), over("TMUX", "tmux"), over("STY", "screen")];
    let path: Vec<&str> = path.into_iter().flatten().collect();
    Finding::good("connection", if path.is_empty() { "local".into() } else { path.join(", ") })
}

fn data(options: &Options) -> (Finding, Result<Dataset, Error>) {
    let started = Instant::now();
    match Dataset::open(options.data().as_deref()) {
        Ok(dataset) => {
            let found = format!(
                "{}: {} training and {} test images, read in {:.2} s",
                dataset.name,
                dataset.train.len(),
                dataset.test.len(),
                started.elapsed().as_secs_f64()
            );
            (Finding::good("data", found), Ok(dataset))
        }
        Err(error) => (Finding::poor("data", "can't be read", error.to_string()), Err(error.into())),
    }
}

fn sessions(options: &Options) -> Finding {
    let folder = options.store.folder().display().to_string();
    match options.store.list() {
        Ok(entries) => Finding::good("sessions", format!("{} in {folder}", entries.len())),
        Err(error) => Finding::poor("sessions", folder, error.to_string()),
    }
}

fn device(options: &Options) -> (Finding, Result<DeviceInfo, Error>) {
    let build = |device| -> Result<DeviceInfo, Error> {
        let arch: Arch = PRESETS[0].text.parse()?;
        let threads = options.threads().unwrap_or(0);
        let setup = Setup { device, kernels: options.kernels(), threads, seed: 0, ..Setup::default() };
        Ok(nn::build(&arch, &setup)?.1)
    };
    match build(options.device()) {
        Ok(info) => {
            // With `auto` the CPU stands in for a GPU; asked for that GPU alone, the program says what is wrong with it.
            let stands_in = cfg!(feature = "cuda") && options.device() == DeviceChoice::Auto && info.device == "cpu";
            let reason = stands_in.then(|| build(DeviceChoice::Cuda(0)).err()).flatten();
            let reason = reason.map_or_else(String::new, |error| format!("; {error}"));
            let found = format!("{}: {}, {} threads{reason}", info.device, info.name, info.threads);
            (Finding::good("device", found), Ok(info))
        }
        Err(error) => (Finding::poor("device", "none computes", error.to_string()), Err(error)),
    }
}

fn gpu() -> Finding {
    match gpu::driver() {
        Driver::Absent => Finding::good("gpu", "no NVIDIA driver was found; the CPU needs none"),
        Driver::Silent(error) => Finding::poor(
            "gpu",
            format!("the NVIDIA driver does not answer: {error}"),
            "`nvidia-smi` should say the same; after an update of the driver the machine must be started anew",
        ),
        Driver::Present { version, gpus } if gpus.is_empty() => {
            Finding::good("gpu", format!("none, beside an NVIDIA driver {version}"))
        }
        Driver::Present { version, gpus } => {
            let found = format!("{}; driver {version}", gpus.join("; "));
            if cfg!(feature = "cuda") {
                Finding::good("gpu", found)
            } else {
                let advice =
                    "this program was built without CUDA; `cargo build --release --features cuda` trains on it";
                Finding::poor("gpu", found, advice)
            }
        }
    }
}
