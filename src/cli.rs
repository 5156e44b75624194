//! The shell's side: arguments in, text or JSON out, an exit code at the end. It starts the other front ends.

mod args;
mod ask;
mod attach;
mod config;
mod doctor;
mod ensemble;
mod follow;
mod import;
mod lab;
mod options;
mod output;
mod repl;
mod serve;
mod sessions;
mod train;
mod tune;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::error::Error;
use args::{Arguments, Verb};
use options::Options;
use output::Output;

pub use args::Arguments as Grammar;
pub use config::Config;

/// Runs the program with the arguments it was started with.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap prints help and version to stdout with code 0, errors to stderr with code 2.
            let written = error.print().and_then(|()| io::stdout().flush());
            let code = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
            if code == ExitCode::SUCCESS {
                Output::new(false, false).or_end(written);
            }
            return code;
        }
    };
    let output = Output::new(arguments.global.json, arguments.global.quiet);
    match start(arguments, &output) {
        Ok(code) if code == ExitCode::SUCCESS && !Output::is_whole() => ExitCode::FAILURE,
        Ok(code) => code,
        Err(error) => {
            output.error(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

fn start(arguments: Arguments, output: &Output) -> Result<ExitCode, Error> {
    let options = Options::gather(arguments.global)?;
    options.start_log()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Failed(format!("can't start the runtime: {error}")))?;
    let code = runtime.block_on(dispatch(arguments.command, &options, output));
    // A thread that still reads standard input must not keep the program alive.
    runtime.shutdown_background();
    code
}

async fn dispatch(verb: Option<Verb>, options: &Options, output: &Output) -> Result<ExitCode, Error> {
    match verb {
        None => lab::run(args::LabArgs::default(), options).await?,
        Some(Verb::Lab(args)) => lab::run(*args, options).await?,
        Some(Verb::Train(args)) => return train::run(*args, options, output).await,
        Some(Verb::Tune(args)) => return tune::run(*args, options, *output).await,
        Some(Verb::Attach(args)) => attach::run(args, options, output).await?,
        Some(Verb::Eval(args)) => ask::evaluate(args, options, output).await?,
        Some(Verb::Predict(args)) => ask::predict(args, options, output).await?,
        Some(Verb::Serve(args)) => serve::run(args, options, output).await?,
        Some(Verb::Export(args)) => ask::export(args, options, output).await?,
        Some(Verb::Import(args)) => import::run(&args, options, output)?,
        Some(Verb::Repl(args)) => return repl::run(args, options, output).await,
        Some(Verb::Sessions(args)) => return sessions::run(args, options, output),
        Some(Verb::Doctor) => doctor::run(options, output)?,
        Some(Verb::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "mnist-lab", &mut script);
            output.bytes(&script);
        }
        Some(Verb::Man { command }) => man(command.as_deref(), output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn man(command: Option<&str>, output: &Output) -> Result<(), Error> {
    let mut grammar = Arguments::command();
    grammar.build();
    let page = match command {
        None => grammar,
        Some(name) => grammar
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| Error::Usage(format!("there is no command `{name}`: `mnist-lab help` lists them")))?,
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page)
        .render(&mut text)
        .map_err(|error| Error::Failed(format!("can't write the page: {error}")))?;
    output.bytes(&text);
    Ok(())
}
