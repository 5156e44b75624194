//! The program in a shell: what goes to which stream, and with which exit code it ends.

use std::fs::{self, OpenOptions};
use std::io::{Write, pipe};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use mnist_lab::session::Session;
use serde_json::Value;

use crate::home::{Home, SMALL};
use crate::terminal::{eventually, kill};

/// What a program that has ended left behind.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Its JSON objects, one a line.
    #[track_caller]
    pub fn objects(&self) -> Vec<Value> {
        let object = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.out.lines().map(object).collect()
    }

    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }
}

/// Whether the tests were started under `nohup` or the like, which what they start would inherit.
static HANG_UP_IS_IGNORED: LazyLock<bool> = LazyLock::new(|| {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 == 1
});

/// The program in this home, with nothing but the home's environment, and an ear for SIGHUP, even if the tests have none.
pub fn command(home: &Home, arguments: &[&str]) -> Command {
    let program = env!("CARGO_BIN_EXE_mnist-lab");
    let mut command = Command::new(if *HANG_UP_IS_IGNORED { "env" } else { program });
    command.args(HANG_UP_IS_IGNORED.then_some(["--default-signal=HUP", program]).into_iter().flatten());
    command.args(arguments).env_clear().envs(home.environment()).current_dir(home.path());
    command
}

pub fn start(home: &Home, arguments: &[&str], input: &str) -> Child {
    let mut child =
        command(home, arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child
}

pub fn end(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

pub fn run(home: &Home, arguments: &[&str]) -> Ran {
    end(start(home, arguments, ""))
}

fn script(home: &Home, arguments: &[&str], lines: &str) -> Ran {
    end(start(home, arguments, lines))
}

fn session(home: &Home, name: &str) -> Session {
    home.store().load(name).unwrap()
}

/// Checks that a command ends with this exit code and one sentence that holds `words`.
#[track_caller]
pub fn check_error(home: &Home, arguments: &[&str], code: i32, words: &str) {
    let ran = run(home, arguments);
    assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.out, ran.err);
    assert!(ran.err.contains(words), "{arguments:?}: {}", ran.err);
    assert!(!ran.err.contains("panicked"), "{arguments:?}: {}", ran.err);
    assert_eq!(ran.out, "", "{arguments:?}: an error is no data");
}

/// Sends a signal by its name.
#[track_caller]
pub fn signal(child: &Child, name: &str) {
    kill(&[name], &child.id().to_string());
}

/// The file in which a run is kept elsewhere, by what is told of it.
#[track_caller]
pub fn kept_in(told: &str) -> &str {
    let kept = told.split("kept in ").nth(1).and_then(|rest| rest.split(": ").next());
    kept.unwrap_or_else(|| panic!("{told}"))
}

#[test]
fn without_a_terminal_the_lab_says_what_to_do() {
    let ran = run(&Home::new(), &[]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("mnist-lab train") && ran.err.lines().count() == 1, "{}", ran.err);
}

#[test]
fn a_run_is_told_as_json_saved_and_asked() {
    let home = Home::new();
    let train = ["train", "--arch", SMALL, "--epochs", "2", "--lr", "0.01", "--save", "a", "--json"];
    let objects = run(&home, &train).good().objects();
    let events: Vec<&str> = objects.iter().map(|object| object["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["started", "epoch", "epoch", "finished"]);
    let (started, second, finished) = (&objects[0], &objects[2], &objects[3]);
    assert_eq!((started["train_samples"].as_u64(), started["validation_samples"].as_u64()), (Some(480), Some(120)));
    assert_eq!(started["arch"], SMALL);
    for key in ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate", "samples_per_second"] {
        assert!(second[key].as_f64().unwrap() > 0.0, "{key}: {second}");
    }
    assert!(second["train_loss"].as_f64() < objects[1]["train_loss"].as_f64(), "it learns: {objects:?}");
    assert_eq!((finished["reason"].as_str(), finished["session"].as_str()), (Some("completed"), Some("a")));
    let tested = finished["test_accuracy"].as_f64().unwrap();
    assert!(tested > 0.2, "{finished}");

    let evaluated = run(&home, &["eval", "a", "--json"]).good().objects().remove(0);
    assert_eq!(evaluated["accuracy"].as_f64(), Some(tested), "the saved network is the one that was measured");
    assert_eq!((evaluated["split"].as_str(), evaluated["total"].as_u64()), (Some("test"), Some(200)));
    assert_eq!(evaluated["confusion"].as_array().unwrap().len(), 10);
    assert_eq!(evaluated["per_class"].as_array().unwrap().len(), 10);
    let calibration = &evaluated["calibration"];
    let counts: u64 = calibration["bins"].as_array().unwrap().iter().map(|bin| bin["count"].as_u64().unwrap()).sum();
    assert_eq!(counts, 200, "each digit is in one bin");
    assert!((0.0..1.0).contains(&calibration["expected_calibration_error"].as_f64().unwrap()), "{calibration}");

    let foggy = run(&home, &["eval", "a", "--corrupt", "fog:5", "--json"]).good().objects().remove(0);
    assert_eq!((foggy["corruption"].as_str(), foggy["severity"].as_u64()), (Some("fog"), Some(5)));
    assert!(foggy["accuracy"].as_f64() < Some(tested), "{}", foggy["accuracy"]);
    // The mean of one answer given twice is that answer.
    let twice = run(&home, &["eval", "a", "a", "--ensemble", "--json"]).good().objects().remove(0);
    assert_eq!((twice["networks"].as_u64(), &twice["confusion"]), (Some(2), &evaluated["confusion"]));
    assert!((twice["loss"].as_f64().unwrap() - evaluated["loss"].as_f64().unwrap()).abs() < 1e-5, "{twice}");
    let views = run(&home, &["eval", "a", "a", "--views", "3", "--json"]).good().objects();
    assert_eq!((views.len(), &views[0]["loss"]), (2, &views[1]["loss"]), "the same views each time");
    assert_eq!(views[1]["session"], "a", "of several each says whose it is");
    assert_ne!(views[0]["loss"], evaluated["loss"]);
    let all = run(&home, &["eval", "a", "--corrupt", "all:5", "--json"]).good().objects();
    assert_eq!((all.len(), all[10]["accuracy"].as_f64()), (16, foggy["accuracy"].as_f64()));
    let sum: f64 = all[..15].iter().map(|row| row["accuracy"].as_f64().unwrap()).sum();
    assert!((all[15]["accuracy"].as_f64().unwrap() - sum / 15.0).abs() < 1e-9 && all[15]["accuracy_clean"] == tested);

    let predicted = run(&home, &["predict", "a", "0", "7", "--json"]).good().objects();
    assert_eq!(predicted.iter().map(|object| object["input"].as_str()).collect::<Vec<_>>(), [Some("0"), Some("7")]);
    let probabilities = predicted[0]["probabilities"].as_array().unwrap();
    let sum: f64 = probabilities.iter().map(|probability| probability.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-4 && predicted[0]["true"] == 7, "{}", predicted[0]);

    let listed = run(&home, &["sessions", "list", "--json"]).good().objects();
    assert_eq!((listed.len(), listed[0]["name"].as_str(), listed[0]["epoch"].as_u64()), (1, Some("a"), Some(2)));
}

#[test]
fn a_resumed_run_is_the_run_that_was_never_stopped() {
    let home = Home::new();
    let epochs = |count: &'static str| ["--epochs", count, "--batch-size", "32", "--dropout", "0.2"];
    let fresh = |name: &'static str, count| {
        let arguments =
            [&["train", "--arch", SMALL, "--seed", "3", "--augment", "tutorial", "--save", name][..], &epochs(count)];
        run(&home, &arguments.concat()).good();
        session(&home, name)
    };
    let whole = fresh("whole", "4");
    fresh("halves", "2");
    run(&home, &["train", "--resume", "halves", "--epochs", "4"]).good();
    let halves = session(&home, "halves");
    run(&home, &["train", "--resume", "halves", "--save", "copy"]).good();
    assert_eq!(session(&home, "copy").run, halves.run);
    assert_eq!(halves.run.network, whole.run.network);
    assert_eq!(halves.run.history.steps, whole.run.history.steps);
    let measured = |session: &Session| session.run.history.epochs.iter().map(|e| e.validation).collect::<Vec<_>>();
    assert_eq!(measured(&halves), measured(&whole));
}

#[test]
fn an_interrupted_run_is_saved_and_goes_on() {
    let home = Home::new();
    let arguments = ["train", "--arch", SMALL, "--epochs", "100000", "--batch-size", "1", "--save", "a", "--json"];
    for signal in ["INT", "TERM", "HUP"] {
        let child = start(&home, &arguments, "");
        let was_saved = || home.store().load("a").is_ok_and(|session| session.run.progress.epoch > 0);
        assert!(eventually(was_saved), "each epoch is saved");
        self::signal(&child, signal);
        let ran = end(child);
        assert_eq!(ran.code, 130, "SIG{signal}: {}", ran.err);
        let finished = ran.objects().pop().unwrap();
        assert_eq!(finished["reason"], "interrupted", "SIG{signal}");
        let progress = session(&home, "a").run.progress;
        assert_eq!(finished["epochs"], progress.epoch, "SIG{signal}");
        let next = (progress.epoch + 1).to_string();
        run(&home, &["train", "--resume", "a", "--epochs", &next]).good();
        assert_eq!(session(&home, "a").run.progress.epoch, progress.epoch + 1, "SIG{signal}");
        home.store().remove("a").unwrap();
    }
}

#[test]
fn a_script_trains_asks_and_saves() {
    let home = Home::new();
    let lines = "# a comment\nnew mlp\nset lr 0.003\ntrain 1\neval\npredict 3\nnext wrong\nfind true=4\nsave b\nquit\n";
    let objects = script(&home, &["repl", "--json"], lines).good().objects();
    let events: Vec<&str> = objects.iter().map(|object| object["event"].as_str().unwrap()).collect();
    for event in ["training", "epoch", "evaluated", "predicted", "saved", "closing"] {
        assert!(events.contains(&event), "{event} in {events:?}");
    }
    let epoch = events.iter().position(|&event| event == "epoch");
    assert!(epoch < events.iter().position(|&event| event == "evaluated"), "`train` waits for its end: {events:?}");
    assert!((session(&home, "b").run.settings.learning_rate - 0.003).abs() < 1e-12);

    let failed = script(&home, &["repl", "b"], "predict 3\ntrian 5\npredict 4\n");
    assert_eq!(failed.code, 2, "{}{}", failed.out, failed.err);
    assert!(failed.out.starts_with("3: ") && !failed.out.contains("\n4: "), "{}", failed.out);
    assert!(failed.err.contains("`train`"), "{}", failed.err);
}

#[test]
fn curves_are_drawn_as_the_ending_says() {
    let home = Home::new();
    for (file, beginning) in [("curves.svg", &b"<svg "[..]), ("curves.png", b"\x89PNG")] {
        run(&home, &["train", "--arch", SMALL, "--epochs", "1", "--no-save", "--plot", file]).good();
        assert!(fs::read(home.path().join(file)).unwrap().starts_with(beginning), "{file}");
    }
    check_error(&home, &["train", "--epochs", "1", "--plot", "curves.pdf"], 2, ".svg");
}

/// A run, its branch and another session in one file, from the lab's command line.
#[test]
fn the_curves_of_all_that_is_shown_are_written() {
    let home = Home::new();
    run(&home, &["train", "--arch", SMALL, "--epochs", "2", "--save", "a"]).good();
    run(&home, &["train", "--arch", SMALL, "--epochs", "1", "--save", "b"]).good();
    let lines = "rewind 1\nset lr 0.01\ntrain\noverlay b\nplot curves.csv\nplot curves.svg\nplot curves.png\n";
    let ran = script(&home, &["--json", "repl", "a"], lines).good();
    let plotted: Vec<Value> = ran.objects().into_iter().filter(|object| object["event"] == "plotted").collect();
    assert_eq!(plotted.len(), 3, "{}", ran.out);
    assert_eq!(plotted[0]["runs"], serde_json::json!(["a", "main", "b"]));
    let text = fs::read_to_string(home.path().join("curves.csv")).unwrap();
    let head: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    for name in ["step", "a loss", "a val_accuracy", "a gradient 1", "main loss", "b update_ratio 2"] {
        assert!(head.contains(&name), "{name}: {head:?}");
    }
    let history = session(&home, "a").run.history;
    let column = |name: &str| -> Vec<f32> {
        let at = head.iter().position(|head| *head == name).unwrap();
        // The texts of changed settings here hold no comma.
        let cells = text.lines().skip(1).map(|line| line.split(',').nth(at).unwrap());
        cells.filter(|cell| !cell.is_empty()).map(|cell| cell.parse().unwrap()).collect()
    };
    assert_eq!(column("a loss"), history.steps.iter().map(|step| step.loss).collect::<Vec<_>>());
    let gradients = history.norms.iter().map(|record| record.layers[0].gradient);
    assert_eq!(column("a gradient 1"), gradients.collect::<Vec<_>>());
    let svg = fs::read_to_string(home.path().join("curves.svg")).unwrap();
    assert!(["main", "lr 0.001 → 0.01"].iter().all(|name| svg.contains(name)), "{svg}");
    assert!(fs::read(home.path().join("curves.png")).unwrap().starts_with(b"\x89PNG"));
    let refused = script(&home, &["repl", "a"], "plot curves.pdf\n");
    assert!(refused.code == 2 && refused.err.contains(".svg, .png or .csv"), "{}", refused.err);
}

#[test]
fn what_was_forgotten_is_told_by_the_kept_epochs() {
    let home = Home::new();
    run(&home, &["train", "--arch", SMALL, "--epochs", "6", "--lr", "0.03", "--batch-size", "8", "--save", "a"]).good();
    let ran = script(&home, &["--json", "repl", "a"], "predict 0\nnext forgotten\nnext\nprev\n").good();
    let digits = ran.objects();
    assert!(digits[0]["epochs"].is_null(), "nobody asked yet: {}", digits[0]);
    let events = |digit: &Value| {
        let epochs = digit["epochs"].as_array().unwrap();
        assert_eq!(epochs.iter().map(|epoch| epoch["epoch"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        let right: Vec<bool> = epochs.iter().map(|epoch| epoch["digit"] == digit["true"]).collect();
        right.windows(2).filter(|pair| pair[0] && !pair[1]).count()
    };
    assert!(events(&digits[1]) >= events(&digits[2]) && events(&digits[2]) > 0, "{}", ran.out);
    assert_eq!(digits[1]["input"], digits[3]["input"]);
    // The last epoch's weights are those that predict now.
    assert_eq!(digits[1]["epochs"][5]["digit"], digits[1]["digit"]);
    run(&home, &["train", "--arch", SMALL, "--epochs", "1", "--save", "b"]).good();
    let refused = script(&home, &["repl", "b"], "next forgotten\n");
    assert!(refused.code == 2 && refused.err.contains("two epochs must be kept"), "{}", refused.err);
}

#[test]
fn what_goes_wrong_ends_with_its_exit_code_and_a_sentence() {
    let home = Home::new();
    run(&home, &["train", "--arch", SMALL, "--epochs", "1", "--save", "good"]).good();
    let file = home.store().folder().join("good.mlab");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(home.store().folder().join("bad.mlab"), bytes).unwrap();
    fs::write(home.path().join("text.png"), "no picture").unwrap();

    check_error(&home, &["train", "--epoch"], 2, "--epoch");
    check_error(&home, &["train", "--lr", "fast"], 2, "lr");
    check_error(&home, &["train", "--arch", "flatten dense64"], 2, "dense10");
    check_error(&home, &["train", "--optimizer", "newton"], 2, "adam");
    check_error(&home, &["train", "--save", "../escape", "--epochs", "1"], 2, "name");
    check_error(&home, &["train", "--save", "good"], 2, "there is a session `good` already: `--resume good` goes on");
    check_error(&home, &["train", "--data", "nowhere"], 3, "nowhere");
    check_error(&home, &["eval", "missing"], 3, "sessions list");
    check_error(&home, &["eval", "bad"], 3, "checksum");
    check_error(&home, &["sessions", "verify", "bad"], 3, "checksum");
    check_error(&home, &["predict", "good", "200"], 2, "199");
    check_error(&home, &["eval", "good", "--corrupt", "rain"], 2, "shot_noise");
    check_error(&home, &["predict", "good", "text.png"], 3, "text.png");
    check_error(&home, &["train", "--resume", "missing"], 3, "sessions list");
    check_error(&home, &["train", "--resume", "good", "--recipe", "quick"], 2, "--recipe");
    check_error(&home, &["lab", "--load", "good", "--lr", "0.1"], 2, "--load opens a session with its own layers");
    check_error(&home, &["repl", "--script", "missing.txt"], 2, "missing.txt");
    run(&home, &["train", "--arch", SMALL, "--epochs", "1", "--validation-split", "0", "--save", "whole"]).good();
    for flags in [["--validation-split", "0"], ["--resume", "whole"]] {
        let arguments = [&["train", "--target-accuracy", "0.9"][..], &flags[..]].concat();
        check_error(&home, &arguments, 2, "--target-accuracy is measured on the validation split");
    }
    assert!(run(&home, &["sessions", "verify", "good"]).good().out.contains("whole"));
}

#[test]
fn what_can_not_be_written_is_an_error_and_what_nobody_reads_is_none() {
    let home = Home::new();
    for arguments in [
        &["completions", "bash"][..],
        &["man", "train"],
        &["sessions", "list"],
        &["doctor", "--json"],
        &["--version"],
        &["train", "--help"],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = end(command(&home, arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap());
        assert_eq!(ran.code, 1, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains("can't write to standard output: No space left"), "{arguments:?}: {}", ran.err);
        // As `| head -1` does, which has what it wants.
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let ran = end(command(&home, arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{arguments:?}");
    }
    // What goes on all the same says it once.
    fs::write(home.path().join("script"), "set lr\nset dropout\n").unwrap();
    for arguments in
        [&["train", "--json", "--arch", SMALL, "--epochs", "2", "--quiet"][..], &["repl", "--script", "script"]]
    {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = end(command(&home, arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap());
        let told = "mnist-lab: can't write to standard output: No space left on device (os error 28)\n";
        assert_eq!((ran.code, ran.err.as_str()), (1, told), "{arguments:?}");
    }
}

#[test]
fn what_describes_the_program_is_there() {
    let home = Home::new();
    for (arguments, words) in [
        (&["--help"][..], "train"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["completions", "bash"], "mnist-lab"),
        (&["man"], ".TH"),
        (&["man", "train"], "--arch"),
        (&["train", "--help"], "samples of a step, 1 to 4096 [default: 64]"),
        (&["train", "--help"], "mlp        one hidden layer, no convolution"),
        (&["train", "--help"], "ensemble   five networks"),
        (&["tune", "--help"], "epochs that a trial has at most"),
        (&["eval", "--help"], "canny_edges"),
        (&["doctor"], "device"),
        (&["doctor"], "gpu          "),
    ] {
        let out = run(&home, arguments).good().out;
        assert!(out.replace('\\', "").contains(words), "{arguments:?}: {out}");
    }
}

/// The options that all commands share stand below the command's own, not between them.
#[test]
fn help_keeps_the_options_of_a_command_together() {
    let home = Home::new();
    for verb in ["train", "tune", "eval", "serve"] {
        let help = run(&home, &[verb, "--help"]).good().out;
        let (own, shared) = help.split_once("Options of every command:").unwrap();
        for flag in ["--data", "--sessions", "--device", "--kernels", "--threads", "--seed", "--json", "--config"] {
            assert!(
                !own.contains(&format!("  {flag}")) && shared.contains(&format!("  {flag}")),
                "{verb} {flag}: {help}"
            );
        }
        assert!(!shared.contains("  --save") && !shared.contains("  --split"), "{verb}: {help}");
    }
}

/// `doctor` asks the same code as the dashboard.
#[test]
fn doctor_tells_the_colours_and_characters_of_the_dashboard() {
    let home = Home::new();
    for (variables, colours, graphics) in [
        (&[("TERM", "xterm-direct")][..], "16 million", "half-blocks"),
        (&[("TERM", "alacritty")], "256", "half-blocks"),
        (&[("TERM", "linux")], "16", "ascii"),
        (&[("TERM", "xterm-256color"), ("LC_ALL", "C")], "256", "ascii"),
    ] {
        let mut doctor = command(&home, &["doctor", "--json"]);
        let output = doctor.env_remove("COLORTERM").envs(variables.iter().copied()).output().unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!([&found["colours"]["found"], &found["graphics"]["found"]], [colours, graphics], "{variables:?}");
    }
}

#[test]
fn a_script_comes_back_to_the_end_of_a_branch() {
    let home = Home::new();
    let lines = format!("new \"{SMALL}\"\ntrain 2\nset lr 0.5\nrewind 1\nrewind 2\nset lr\nbranch main\nset lr\n");
    let ran = script(&home, &["repl"], &lines).good();
    assert_eq!(ran.out.matches("epoch 2: ").count(), 1, "what is gone back to is not trained again: {}", ran.out);
    assert!(ran.out.contains("its settings were changed there since: `branch main` has them"), "{}", ran.out);
    let rates: Vec<&str> = ran.out.lines().filter(|line| line.starts_with("lr ")).collect();
    assert!(rates[1].contains("0.001") && rates[2].contains("0.5"), "{rates:?}");
}

#[test]
fn a_script_goes_back_in_time_and_compares() {
    let home = Home::new();
    run(&home, &["train", "--arch", SMALL, "--epochs", "3", "--lr", "0.01", "--save", "a"]).good();
    let lines = "rewind 1\nset lr 0.001\ntrain\nbranch other\nbranch\nbranch main\nrewind 9\n";
    let ran = script(&home, &["repl", "a", "--json"], lines);
    assert_eq!(ran.code, 2, "the last line can't be done: {}", ran.err);
    assert!(ran.err.contains("epoch 9 is not kept: there are 0, 1, 2, 3"), "{}", ran.err);
    let objects = ran.objects();
    let events: Vec<&str> = objects.iter().map(|object| object["event"].as_str().unwrap()).collect();
    let expected = ["rewound", "done", "training", "epoch", "epoch", "branch", "branch", "branch", "branch", "branch"];
    assert_eq!(events, expected, "{objects:?}");
    assert_eq!((objects[0]["epoch"].as_u64(), objects[0]["ahead"].as_u64()), (Some(1), Some(3)));
    let names: Vec<&str> = objects[6..9].iter().map(|object| object["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["main", "main-2", "other"]);

    let shown = run(&home, &["sessions", "show", "a", "--json"]).good().objects().remove(0);
    assert_eq!(shown["branches"].as_array().unwrap().len(), 3, "{shown}");
    assert!(
        run(&home, &["sessions", "show", "a"])
            .good()
            .out
            .contains("branch   main-2: epoch 3, step 24, from epoch 1 of `main`")
    );
    script(&home, &["repl", "a"], "branch main-2\nsave b\n").good();
    let compared = run(&home, &["sessions", "diff", "a", "b", "--json"]).good().objects().remove(0);
    let row = |name: &str| {
        let row = compared["rows"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone();
        (row["a"].as_str().unwrap().to_owned(), row["b"].as_str().unwrap().to_owned())
    };
    assert_eq!(row("lr"), ("0.01".into(), "0.001".into()));
    assert_ne!(row("weights").0, row("weights").1);
    let text = run(&home, &["sessions", "diff", "a", "b"]).good().out;
    assert!(
        text.lines().any(|line| line.starts_with("≠ lr") && line.contains("0.01") && line.contains("0.001")),
        "{text}"
    );
}

#[test]
fn the_log_tells_what_happened() {
    let home = Home::new();
    let log = home.path().join("lab.log");
    let ran = run(&home, &["train", "--arch", SMALL, "--epochs", "1", "--log", log.to_str().unwrap()]).good();
    assert!(ran.out.contains("the one epoch is done"), "{}", ran.out);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("INFO") && text.contains("epoch 1: loss"), "{text}");
}

#[test]
fn the_average_of_the_weights_is_what_answers_and_leaves() {
    let home = Home::new();
    let train = ["train", "--arch", SMALL, "--epochs", "2", "--lr", "0.01", "--ema", "0.8", "--save", "a", "--json"];
    let finished = run(&home, &train).good().objects().pop().unwrap();
    let network = session(&home, "a").run.network;
    assert_ne!(network.trained.as_ref(), Some(&network.tensors));
    assert_eq!(run(&home, &["sessions", "show", "a", "--json"]).good().objects()[0]["settings"]["ema"], "0.8");

    run(&home, &["export", "a", "-o", "a.h5"]).good();
    run(&home, &["import", "a.h5", "--as", "b"]).good();
    assert_eq!(session(&home, "b").run.network.tensors, network.tensors);
    let answers = |name: &str| {
        let evaluated = run(&home, &["eval", name, "--json"]).good().objects().remove(0);
        let predicted = run(&home, &["predict", name, "0", "1", "--json"]).good().objects();
        let probabilities = predicted.iter().map(|digit| digit["probabilities"].clone()).collect::<Vec<_>>();
        (evaluated["loss"].clone(), evaluated["accuracy"].clone(), probabilities)
    };
    let (loss, accuracy, probabilities) = answers("a");
    assert_eq!((&loss, &accuracy), (&finished["test_loss"], &finished["test_accuracy"]));
    assert_eq!((loss, accuracy, probabilities), answers("b"));

    // Both go on from the weights, with an average or without.
    run(&home, &["train", "--resume", "a", "--epochs", "3", "--ema", "none"]).good();
    assert_eq!(session(&home, "a").run.network.trained, None);
    check_error(&home, &["train", "--ema", "1"], 2, "`1` is no ema");
}

#[test]
fn a_network_goes_out_and_comes_back_the_same() {
    let home = Home::new();
    run(&home, &["train", "--arch", SMALL, "--epochs", "1", "--save", "first", "-q"]).good();
    let weights = |name: &str| run(&home, &["sessions", "show", name, "--json"]).good().objects()[0]["weights"].clone();
    for format in ["h5", "keras", "safetensors"] {
        let file = format!("first.{format}");
        let exported = run(&home, &["export", "first", "-o", &file, "--json"]).good().objects().remove(0);
        assert_eq!((&exported["event"], &exported["format"]), (&"exported".into(), &format.into()));
        assert_eq!(exported["bytes"], std::fs::metadata(home.path().join(&file)).unwrap().len());
        let imported = run(&home, &["import", &file, "--as", format, "--json"]).good().objects().remove(0);
        assert_eq!((&imported["event"], &imported["session"]), (&"imported".into(), &format.into()));
        assert_eq!(imported["test_accuracy"], exported["test_accuracy"]);
        assert_eq!(weights(format), weights("first"));
    }
    run(&home, &["train", "--resume", "h5", "--epochs", "1", "-q"]).good();
    let tflite = run(&home, &["export", "first", "--to", "tflite", "-o", "x", "--quantize", "int8", "--json"]).good();
    assert!(tflite.objects()[0]["quantized_test_accuracy"].is_number(), "{}", tflite.out);
    let script = end(start(&home, &["repl", "first", "--json"], "export -o lab.onnx\nexport -o lab.xyz\n"));
    assert_eq!((script.code, &script.objects()[0]["format"]), (2, &"onnx".into()), "{}", script.err);
}

#[test]
fn model_files_that_can_not_be_are_told_by_their_exit_code() {
    let home = Home::new();
    run(&home, &["train", "--arch", SMALL, "--epochs", "1", "--save", "first", "-q"]).good();
    fs::write(home.path().join("cut.h5"), b"\x89HDF\r\n\x1a\n").unwrap();
    for (arguments, code, said) in [
        (["export", "first", "-o", "a.txt"].as_slice(), 2, "--to"),
        (&["export", "first", "-o", "a.h5", "--quantize", "int8"], 2, "--quantize"),
        (&["export", "nobody", "-o", "a.h5"], 3, "nobody"),
        (&["export", "first", "-o", "no/such/a.h5"], 1, "no/such/a.h5"),
        (&["import", "cut.h5", "--as", "cut"], 3, "cut.h5"),
        (&["import", "missing.h5", "--as", "cut"], 1, "missing.h5"),
        (&["import", "cut.h5", "--as", "first"], 2, "first"),
    ] {
        let ran = run(&home, arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(said) && ran.err.lines().count() == 1, "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn hostile_model_files_take_little_memory() {
    let home = Home::new();
    let fixture =
        |name: &str| fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap();
    let mut files: Vec<Vec<u8>> = Vec::new();
    // Lengths that promise exabytes, and a gigabyte that is not there.
    for length in [u64::MAX, 1 << 62, 1 << 30] {
        files.push(
            [&length.to_le_bytes()[..], b"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"].concat(),
        );
    }
    let huge = br#"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,18446744073709551615]}}"#;
    files.push([&(huge.len() as u64).to_le_bytes()[..], huge].concat());
    // Sizes and places all over the files of Keras become the largest there are.
    for name in ["keras.h5", "keras.keras"] {
        let whole = fixture(name);
        for part in 0..40 {
            let mut bytes = whole.clone();
            let at = part * whole.len() / 40;
            bytes[at.max(8)..(at.max(8) + 8).min(whole.len())].fill(0xff);
            files.push(bytes);
        }
    }
    let binary = env!("CARGO_BIN_EXE_mnist-lab");
    for (number, bytes) in files.iter().enumerate() {
        fs::write(home.path().join("hostile"), bytes).unwrap();
        // A limit of address space, which an allocation that is only promised counts towards too.
        let line = format!("ulimit -v 2000000; exec {binary} import hostile --as hostile-{number}");
        let output = Command::new("/bin/sh")
            .args(["-c", &line])
            .env_clear()
            .envs(home.environment())
            .current_dir(home.path())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        // Damage in what is not read does not matter.
        let code = output.status.code();
        assert!(code == Some(3) || code == Some(0), "file {number}: {code:?}: {error}");
        assert!(!error.contains("panicked"), "file {number}: {error}");
    }
}

#[test]
fn several_networks_are_trained_and_tested_as_one_and_an_interrupted_ensemble_goes_on() {
    let home = Home::new();
    let train = ["train", "--members", "2", "--epochs", "1", "--seed", "7", "--save", "pair", "--json"];
    let train = [&train[..], &["--arch", "conv4:5x5:s2 relu flatten dense10"]].concat();
    let objects = run(&home, &train).good().objects();
    let [finished, together] = ["finished", "evaluated"]
        .map(|word| objects.iter().filter(|object| object["event"] == word).collect::<Vec<_>>());
    assert_eq!(finished.len(), 2, "{objects:?}");
    assert_eq!([&finished[0]["session"], &finished[1]["session"]], ["pair-1", "pair-2"]);
    assert_ne!(finished[0]["test_loss"], finished[1]["test_loss"], "each has a seed of its own");
    assert_eq!((together.len(), together[0]["networks"].as_u64()), (1, Some(2)));
    // The mean of probabilities is never worse than the mean of the losses.
    let loss = |object: &serde_json::Value, key: &str| object[key].as_f64().unwrap();
    assert!(loss(together[0], "loss") <= f64::midpoint(loss(finished[0], "test_loss"), loss(finished[1], "test_loss")));
    let seeds = ["pair-1", "pair-2"].map(|name| home.store().load(name).unwrap().run.config.seed);
    assert_eq!(seeds, [7, 8]);

    // As if it had been killed after the first.
    home.store().remove("pair-2").unwrap();
    let again = run(&home, &train).good();
    assert!(again.err.contains("`pair-1` is trained already"), "{}", again.err);
    let objects = again.objects();
    assert_eq!(objects.iter().filter(|object| object["event"] == "finished").count(), 1);
    assert_eq!(objects.last().unwrap()["loss"], together[0]["loss"]);

    check_error(
        &home,
        &[&train[..], &["--lr", "0.1"]].concat(),
        2,
        "session `pair-1` is of another network or of other settings",
    );
    for flag in [&["--no-save"][..], &["--plot", "a.svg"], &["--listen"], &["--target-test-accuracy", "0.9"]] {
        let plain = train.iter().copied().filter(|word| !["--save", "pair"].contains(word)).collect::<Vec<_>>();
        check_error(&home, &[&plain[..], flag].concat(), 2, &format!("{} is for one network", flag[0]));
    }
}

#[test]
fn a_network_learns_from_others_and_goes_on_without_them() {
    let home = Home::new();
    for (name, seed) in [("a", "1"), ("b", "2")] {
        let flags = ["--arch", SMALL, "--epochs", "3", "--seed", seed, "--save", name];
        run(&home, &[&["train"][..], &flags].concat()).good();
    }
    let train = |flags: &[&str]| run(&home, &[&["train", "--arch", "mlp", "--json"][..], flags].concat()).good();
    let taught = ["--teacher", "a,b", "--epochs", "2", "--save", "pupil"];
    let told = train(&taught);
    assert!(told.err.contains("asking the teacher about the training digits"), "{}", told.err);
    assert_eq!(told.objects()[0]["teacher"], serde_json::json!(["a", "b"]));
    let weights = |name: &str| run(&home, &["sessions", "show", name, "--json"]).good().objects()[0]["weights"].clone();
    train(&["--teacher", "b", "--epochs", "2", "--save", "of-one"]);
    train(&["--epochs", "2", "--save", "alone"]);
    assert!(weights("pupil") != weights("of-one") && weights("pupil") != weights("alone"));

    // It needs them no more, and is the run that was never left.
    train(&["--teacher", "a", "--teacher", "b", "--epochs", "1", "--save", "left"]);
    for name in ["a", "b"] {
        home.store().remove(name).unwrap();
    }
    run(&home, &["train", "--resume", "left", "--epochs", "2"]).good();
    assert_eq!(weights("left"), weights("pupil"));
    let shown = run(&home, &["sessions", "show", "left"]).good().out;
    assert!(shown.contains("teacher            a, b\n") && shown.contains("temperature        4\n"), "{shown}");
    let shown = run(&home, &["sessions", "show", "alone"]).good().out;
    assert!(!shown.contains("teacher") && !shown.contains("temperature"), "{shown}");

    check_error(&home, &["train", "--teacher", "a"], 3, "there is no session `a`");
    check_error(&home, &["train", "--resume", "left", "--teacher", "pupil"], 2, "--teacher");
    check_error(&home, &["train", "--resume", "alone", "--distill", "0.5"], 2, "this run has no teacher");
    check_error(&home, &["train", "--distill", "0.5"], 2, "--distill is for a run that learns from others");
    check_error(
        &home,
        &["train", "--recipe", "distilled"],
        2,
        "--recipe distilled is for a run that learns from others",
    );
    for flags in [["--teacher", "pupil"], ["--recipe", "distilled"], ["--distill", "0.5"]] {
        check_error(&home, &[&["tune"][..], &flags].concat(), 2, "learn from labels alone: leave out --teacher");
    }
}

#[test]
fn members_that_are_taught_go_on_with_what_they_were_told() {
    let home = Home::new();
    run(&home, &["train", "--arch", SMALL, "--epochs", "1", "--save", "a"]).good();
    let train = ["train", "--members", "2", "--teacher", "a", "--epochs", "1", "--save", "m", "--arch", SMALL];
    run(&home, &train).good();
    assert!(run(&home, &train).good().err.contains("`m-2` is trained already"));
    let others: Vec<&str> = train.iter().copied().filter(|word| !["--teacher", "a"].contains(word)).collect();
    check_error(&home, &others, 2, "session `m-1` is of another network or of other settings");
}

#[test]
fn members_that_have_come_to_their_target_are_trained_already() {
    let home = Home::new();
    let train =
        ["train", "--members", "2", "--epochs", "3", "--target-accuracy", "0.01", "--save", "t", "--arch", SMALL];
    let names = ["t-1", "t-2"];
    let epochs = || names.map(|name| session(&home, name).run.progress.epoch);
    run(&home, &train).good();
    assert_eq!(epochs(), [1, 1]);
    let again = run(&home, &train).good();
    for name in names {
        assert!(again.err.contains(&format!("`{name}` is trained already")), "{}", again.err);
    }
    assert_eq!(epochs(), [1, 1]);
}

#[test]
fn an_interrupted_ensemble_says_how_to_go_on_with_it() {
    let home = Home::new();
    let child = start(&home, &["train", "--members", "2", "--arch", SMALL, "--epochs", "100000"], "");
    assert!(eventually(|| home.store().load("ensemble-1-1").is_ok()));
    signal(&child, "TERM");
    let ran = end(child);
    assert!(ran.code == 130 && ran.err.contains("with `--save ensemble-1` goes on"), "{}: {}", ran.code, ran.err);
}
