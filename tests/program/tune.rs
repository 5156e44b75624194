//! Searches from the shell: what is told, killed and gone on with, shared by processes, seen in the dashboard.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::home::{Home, SMALL};
use crate::shell::{check_error, end, run, signal, start};
use crate::terminal::{ENTER, Launch, eventually};

const SPACE: &str = "arch = \"conv4:5x5:s2 relu flatten dense{units} relu dropout dense10\"\n\
    [settings]\nbatch-size = 8\n[parameters]\nunits = [8, 16, 32]\nlr = { from = 1e-3, to = 3e-2, log = true }\ndropout = { from = 0.0, to = 0.5 }\n";

/// A home with a space to search.
fn home() -> Home {
    let home = Home::new();
    fs::write(home.path().join("space.toml"), SPACE).unwrap();
    home
}

/// The trials that were told, without what is not the same twice.
fn trials(objects: &[Value]) -> HashMap<u64, String> {
    let told = objects.iter().filter(|object| object["event"] == "trial");
    told.map(|object| {
        let kept =
            ["settings", "arch", "status", "epochs", "val_loss", "val_accuracy"].map(|key| object[key].to_string());
        (object["trial"].as_u64().unwrap(), kept.join(" "))
    })
    .collect()
}

fn results(home: &Home, name: &str) -> usize {
    let files = fs::read_dir(home.path().join("sessions").join(name)).into_iter().flatten();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".epoch-") && !name.contains(".claim-")).count()
}

#[test]
fn a_search_is_told_as_json_and_its_best_trial_is_a_session() {
    let home = home();
    let tune = ["tune", "--space", "space.toml", "--trials", "6", "--epochs", "2", "--seed", "3", "--json"];
    let objects = run(&home, &[&tune[..], &["--save", "a"]].concat()).good().objects();
    let (best, trials_told) = objects.split_last().unwrap();
    assert_eq!((trials_told.len(), best["event"].as_str(), best["session"].as_str()), (6, Some("best"), Some("a")));
    let accuracy = |object: &Value| object["val_accuracy"].as_f64().unwrap();
    assert!(trials_told.iter().all(|trial| accuracy(trial) <= accuracy(best)), "{objects:?}");
    for key in ["units", "lr", "dropout"] {
        assert!(best["settings"][key].is_string(), "{best}");
    }
    let session = home.store().load("a").unwrap();
    let kept = session.run.history.epochs.last().unwrap().validation.unwrap();
    assert_eq!(Some(kept.accuracy), best["val_accuracy"].as_f64());
    let evaluated = run(&home, &["eval", "a", "--split", "validation", "--json"]).good().objects().remove(0);
    assert_eq!(evaluated["accuracy"], best["val_accuracy"]);

    // The same seed with another number of threads and trials beside each other is the same search.
    let again = run(&home, &[&tune[..], &["--save", "b", "--jobs", "3", "--threads", "2"]].concat()).good().objects();
    assert_eq!(trials(&again), trials(&objects));
    assert_eq!(again.last().unwrap()["trial"], best["trial"]);

    // What is there goes on with more trials, without being told again what it was.
    let more = run(&home, &["tune", "--save", "a", "--trials", "8", "--json"]).good().objects();
    let again = run(&home, &[&tune[..3], &tune[5..], &["--save", "a"]].concat()).good().objects();
    assert_eq!(trials(&again), trials(&more), "as many as there are, if nobody says how many");
    let (more, first) = (trials(&more), trials(&objects));
    assert!(more.len() == 8 && first.iter().all(|(number, trial)| more[number] == *trial));
    let text = run(&home, &["tune", "--save", "a", "--trials", "8"]).good().out;
    assert!(
        text.contains("units") && text.contains("share of the variance") && text.contains("saved as `a`"),
        "{text}"
    );
}

#[test]
fn a_killed_search_goes_on_and_comes_to_the_same() {
    let home = home();
    let tune = |name: &'static str| {
        [
            "tune",
            "--space",
            "space.toml",
            "--trials",
            "40",
            "--epochs",
            "4",
            "--algorithm",
            "tpe",
            "--save",
            name,
            "--json",
        ]
    };
    let expected = run(&home, &tune("whole")).good().objects();
    for (name, with, code) in [("killed", Some("KILL"), -1), ("stopped", Some("INT"), 130), ("unread", None, 0)] {
        let mut child = start(&home, &tune(name), "");
        let folder = format!("{name}.tune");
        assert!(eventually(|| results(&home, &folder) >= 2), "some trials are done");
        match with {
            Some(with) => signal(&child, with),
            None => drop(child.stdout.take()),
        }
        assert_eq!(end(child).code, code);
        let done = results(&home, &folder);
        assert!(done < 40, "it was {name} too late");
        let objects = run(&home, &tune(name)).good().objects();
        assert_eq!(trials(&objects), trials(&expected), "{name} after {done}");
        let removed = run(&home, &["sessions", "rm", name]).good();
        assert!(removed.err.contains(&folder), "what is left is named: {}", removed.err);
    }
}

#[test]
fn a_search_that_was_left_says_how_to_go_on_with_it() {
    let home = home();
    let child = start(&home, &["tune", "--space", "space.toml", "--trials", "60", "--epochs", "30"], "");
    assert!(eventually(|| results(&home, "search-1.tune") > 0));
    signal(&child, "INT");
    let ran = end(child);
    assert!(ran.code == 130 && ran.err.contains("with `--save search-1` goes on"), "{}: {}", ran.code, ran.err);
}

#[test]
fn a_search_whose_best_trial_can_not_be_saved_fails_its_script() {
    let home = home();
    fs::create_dir_all(home.path().join("sessions/s.mlab")).unwrap();
    let lines = "tune --space space.toml --trials 2 --epochs 1 --save s\npredict 0\n";
    let ran = end(start(&home, &["repl"], lines));
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert_eq!(ran.err.matches("s.mlab: can't save").count(), 1, "{}", ran.err);
    assert!(!ran.out.contains("is saved as") && !ran.out.contains("\n0: "), "{}", ran.out);
}

#[test]
fn a_search_whose_trials_all_diverge_fails_its_script() {
    let home = home();
    let space =
        "arch = \"flatten dense64 dense64 dense10\"\n[settings]\noptimizer = \"sgd\"\n[parameters]\nlr = [9.0, 10.0]\n";
    fs::write(home.path().join("steep.toml"), space).unwrap();
    let tune = ["tune", "--space", "steep.toml", "--trials", "2", "--epochs", "1", "--save"];
    check_error(&home, &[&tune[..], &["a"]].concat(), 1, "all diverged");
    let ran = end(start(&home, &["repl"], &format!("{} b\npredict 0\n", tune.join(" "))));
    assert!(ran.code == 1 && ran.err.contains("all diverged") && !ran.out.contains("\n0: "), "{}{}", ran.out, ran.err);
}

#[test]
fn a_run_beside_a_search_that_nobody_reads_any_more_is_saved() {
    let home = home();
    let script = "step 5\ntune --space space.toml --trials 300 --epochs 4 --save found\n";
    let mut child = start(&home, &["repl", "--json"], script);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("\"event\":\"trial\"")));
    drop(lines);
    assert_eq!(end(child).code, 0);
    assert!(results(&home, "found.tune") < 300, "the search was left where it was");
    assert_eq!(home.store().load("run-1").unwrap().run.progress.step, 5);
}

#[test]
fn two_processes_share_a_folder_and_do_nothing_twice() {
    let home = home();
    // A worker may come before there is anything to do.
    let worker = start(&home, &["tune", "--worker", "--folder", "shared", "--json", "--jobs", "1"], "");
    let tune = [
        "tune",
        "--space",
        "space.toml",
        "--trials",
        "12",
        "--epochs",
        "3",
        "--folder",
        "shared",
        "--save",
        "best",
        "--json",
        "--jobs",
        "1",
    ];
    let objects = run(&home, &tune).good().objects();
    let worker = end(worker).good().objects();
    assert_eq!(objects.last().unwrap()["event"], "best");
    assert_eq!((trials(&objects).len(), trials(&objects)), (12, trials(&worker)));
    let workers: HashMap<String, usize> =
        objects.iter().filter_map(|object| object["worker"].as_str()).fold(HashMap::new(), |mut all, name| {
            *all.entry(name.to_owned()).or_insert(0) += 1;
            all
        });
    assert_eq!(workers.len(), 2, "both worked: {workers:?}");
    let claims = fs::read_dir(home.path().join("shared")).unwrap();
    let claims = claims.filter(|file| file.as_ref().unwrap().file_name().to_str().unwrap().contains(".claim-")).count();
    assert_eq!(claims, 12, "each trial was taken once");
    let alone =
        run(&home, &["tune", "--space", "space.toml", "--trials", "12", "--epochs", "3", "--save", "alone", "--json"])
            .good();
    assert_eq!(trials(&alone.objects()), trials(&objects));
}

#[test]
fn what_can_not_be_searched_is_said_in_a_sentence() {
    let home = home();
    fs::write(home.path().join("bad.toml"), "[parameters]\nunits = [32]\n").unwrap();
    check_error(&home, &["tune", "--space", "bad.toml"], 2, "fills no gap");
    check_error(&home, &["tune", "--space", "none.toml"], 2, "none.toml");
    check_error(&home, &["tune", "--algorithm", "magic"], 2, "there are random, tpe, halving, hyperband");
    check_error(&home, &["tune", "--validation-split", "0"], 2, "--validation-split");
    check_error(&home, &["tune", "--worker"], 2, "--folder");
    check_error(&home, &["tune", "--save", "../x"], 2, "no name for a session");
    run(&home, &["tune", "--space", "space.toml", "--trials", "1", "--epochs", "1", "--save", "a"]).good();
    check_error(&home, &["tune", "--space", "space.toml", "--epochs", "2", "--save", "a"], 2, "its epochs is 1, not 2");
    run(&home, &["train", "--arch", SMALL, "--epochs", "1", "--save", "b"]).good();
    check_error(&home, &["tune", "--space", "space.toml", "--save", "b"], 2, "there is a session `b` already");
    fs::write(home.path().join("sessions/a.tune/search.json"), "x").unwrap();
    check_error(&home, &["tune", "--save", "a"], 3, "search.json");
}

#[test]
fn a_search_in_the_dashboard_sorts_itself_and_opens_a_trial() {
    let home = home();
    let arguments = ["lab", "--arch", "conv4:5x5:s2 relu flatten dropout dense10"];
    let mut terminal = Launch::program(&home, &arguments).size(120, 40).start();
    terminal.wait_for("ready");
    terminal.command("tune --space space.toml --trials 8 --epochs 2 --save lab");
    terminal.wait_for("search lab: random");
    terminal.wait_for("8/8, done, best");
    terminal.leave_command_line();
    terminal.keys("1z");
    for words in ["units", "lr", "dropout", "val acc", " %"] {
        terminal.wait_for(words);
    }
    terminal.keys("j");
    terminal.keys(ENTER);
    terminal.wait_for("loaded `lab-");
    terminal.keys("z");
    // A search that was left goes on.
    terminal.command("tune --space space.toml --trials 60 --epochs 30 --save long --stop none");
    terminal.wait_for("search long: random");
    terminal.command("tune off");
    terminal.wait_for(", stopped");
    terminal.leave_command_line();
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
    assert!(home.store().load("lab").is_ok(), "the best trial is a session");
    assert!(home.store().list().unwrap().iter().any(|entry| entry.name.starts_with("lab-")));
}

#[test]
fn a_script_waits_for_its_search() {
    let home = home();
    let lines = "tune --space space.toml --trials 3 --epochs 1 --save s\nquit\n";
    let mut child = start(&home, &["repl", "--json"], lines);
    child.stdin = None;
    let objects = end(child).good().objects();
    let events: Vec<&str> = objects.iter().map(|object| object["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["done", "trial", "trial", "trial", "best", "closing"], "{objects:?}");
}
