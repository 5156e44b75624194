//! `import`: a model of another program becomes a session.

use serde_json::json;

use super::args::ImportArgs;
use super::options::{Options, VALIDATION_SPLIT};
use super::output::Output;
use crate::arch::Arch;
use crate::data::Dataset;
use crate::error::Error;
use crate::import;
use crate::nn::{self, Setup};
use crate::session::{SessionError, Store};
use crate::train::Trainer;

/// Reads the file, measures it on the test set, and saves it.
///
/// # Errors
/// If the name is taken, the file can't be read, or holds what can't be said here.
pub fn run(args: &ImportArgs, options: &Options, output: &Output) -> Result<(), Error> {
    Store::check_name(&args.name)?;
    match options.store.load(&args.name) {
        Err(SessionError::Missing { .. }) => {}
        _ => {
            return Err(Error::Usage(format!(
                "there is a session `{0}` already: take another name, or `mnist-lab sessions rm {0}` first",
                args.name
            )));
        }
    }
    let arch: Option<Arch> = args.arch.as_deref().map(str::parse).transpose()?;
    let imported = import::read(&args.file, arch.as_ref())?;
    let dataset = Dataset::open(options.data().as_deref())?;
    let session = imported.session(&dataset, options.seed(), VALIDATION_SPLIT);
    let setup = Setup {
        device: options.device(),
        kernels: options.kernels(),
        threads: options.threads().unwrap_or(0),
        ..Setup::default()
    };
    let arch = session.run.config.arch.clone();
    let (network, _) = nn::build(&arch, &setup)?;
    let mut trainer = Trainer::resume(&session.run, dataset, network)?;
    let test = trainer.test(&mut |_| {})?;
    let (path, bytes) = options.store.save(&args.name, &session)?;

    let (accuracy, loss, parameters) = (test.confusion.accuracy(), test.loss(), arch.parameters());
    let object = json!({
        "event": "imported",
        "session": args.name,
        "file": args.file.display().to_string(),
        "path": path.display().to_string(),
        "bytes": bytes,
        "arch": arch.to_string(),
        "parameters": parameters,
        "test_accuracy": accuracy,
        "test_loss": loss,
    });
    let text = format!(
        "imported as `{0}`: {arch}, {parameters} parameters, test accuracy {1:.2} %, loss {loss:.4}\n\
         `mnist-lab lab --load {0}` opens it",
        args.name,
        accuracy * 100.0,
    );
    output.data(&object, &text);
    Ok(())
}
