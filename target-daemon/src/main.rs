//! The command line of xblade: parses it, dispatches to a subcommand, sets the exit code.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use xblade::config::{self, Check, Cli, Command, Import, Loaded, Serve, ServeArgs, Show, Tune, Vblade};
use xblade::control::{CallError, client};
use xblade::daemon;
use xblade::logging;
use xblade::steer::steer;
use xblade::text::printable;
use xblade::top;
use xblade::tune::{Mark, tune};

/// Exit code: the request is invalid or cannot be served as given.
const REQUEST: u8 = 2;

/// Where vblade's service has its configuration.
const VBLADE: &str = "/etc/vblade.conf.d";

/// Exit code: this machine has to be changed first.
const MACHINE: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::read(words()).unwrap_or_else(|error| error.exit());
    logging::init(matches!(cli.command, Command::Serve(_) | Command::Vblade(_)));
    let outcome = match cli.command {
        Command::Serve(args) => {
            let file = args.config.clone();
            configuration(*args).and_then(|options| serve(&options, file.as_deref()))
        }
        Command::Check(Check { config: Some(path), .. }) => check_file(&path),
        Command::Check(options) => machine(daemon::check(&options)),
        Command::Steer(options) => steer(&options).map(print).map_err(|fault| exit(fault.exit_code())(fault)),
        Command::Tune(options) => tune_machine(&options),
        Command::Show(Show { config: Some(path), reach }) => show(&path, reach.json),
        Command::Show(Show { config: None, reach }) => client::show(&reach).map_err(called),
        Command::Ask(command) => client::run(&command).map_err(called),
        Command::Top(options) => top::run(&options).map_err(called),
        Command::Import(Import::Vblade { paths, command }) => import(paths, &command),
        Command::Vblade(arguments) => vblade(&arguments),
    };
    logging::flush();
    outcome.map_or_else(ExitCode::from, |()| ExitCode::SUCCESS)
}

/// The command line. If called as `vblade`, it becomes that of `xblade vblade`.
fn words() -> Vec<OsString> {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    if words.first().is_some_and(|program| Vblade::is_called(Path::new(program))) {
        words.insert(1, "vblade".into());
    }
    words
}

fn configuration(args: ServeArgs) -> Result<Serve, u8> {
    match args.config {
        Some(path) => complete(&path),
        None => Ok(args.serve.settled()),
    }
}

/// Prints an error, and turns it into this exit code.
fn exit<E: Display>(code: u8) -> impl Fn(E) -> u8 {
    move |error| {
        eprintln!("{}", printable(&error.to_string()));
        code
    }
}

fn load(path: &Path) -> Result<Loaded, u8> {
    config::load(path).map_err(exit(REQUEST))
}

/// The configuration in a file, if it has no errors.
fn complete(path: &Path) -> Result<Serve, u8> {
    load(path)?.complete().map_err(|faults| {
        eprintln!("{faults}");
        REQUEST
    })
}

fn serve(options: &Serve, config: Option<&Path>) -> Result<(), u8> {
    daemon::serve(options, config).map_err(|failure| {
        // Not through the log: like clap's errors, it must appear whatever RUST_LOG is.
        logging::say(&format!("error: {}\n", printable(&failure.to_string())));
        failure.exit_code
    })
}

fn called(error: CallError) -> u8 {
    // A reload reports the faults of a file on several lines.
    error.to_string().lines().for_each(|line| eprintln!("{}", printable(line)));
    error.exit_code
}

fn vblade(arguments: &Vblade) -> Result<(), u8> {
    let options = arguments.serve().map_err(|error| exit(REQUEST)(format!("error: {error}")))?;
    if arguments.was_volatile() {
        log::info!(
            "vblade without -s acknowledges writes from the page cache; xblade does so from stable storage, and \
             `xblade serve` with durability=volatile does as vblade"
        );
    }
    log::info!(
        "vblade lets any host set config string, masks and reservation; xblade refuses that, and \
         `xblade serve --host-settings volatile` does as vblade"
    );
    serve(&options, None)
}

fn import(mut paths: Vec<PathBuf>, commands: &[String]) -> Result<(), u8> {
    if paths.is_empty() && commands.is_empty() {
        paths.push(VBLADE.into());
    }
    let imported = config::import(&paths, commands).map_err(exit(REQUEST))?;
    print!("{}", imported.text);
    for remark in &imported.remarks {
        eprintln!("{remark}");
    }
    // Errors that vblade did not notice, for instance two files with one address.
    let faults = config::parse("the configuration", &imported.text, "").faults;
    if !faults.is_empty() {
        eprintln!("{faults}");
    }
    if imported.is_partial || !faults.is_empty() { Err(REQUEST) } else { Ok(()) }
}

fn machine(fits: bool) -> Result<(), u8> {
    if fits { Ok(()) } else { Err(MACHINE) }
}

fn check_file(path: &Path) -> Result<(), u8> {
    let loaded = load(path)?;
    let (misfits, everywhere) = daemon::problems(&loaded);
    if !loaded.faults.is_empty() {
        eprintln!("{}", loaded.faults);
    }
    let fits = misfits.is_empty() && everywhere.is_empty();
    if !fits {
        eprintln!("On this machine:");
    }
    for text in everywhere {
        eprintln!("{}", printable(&text));
    }
    if !misfits.is_empty() {
        eprintln!("{}", loaded.faults.others(misfits));
    }
    match (loaded.faults.is_empty(), fits) {
        (false, _) => Err(REQUEST),
        (true, false) => Err(MACHINE),
        (true, true) => {
            let is_fit = daemon::check_for(&loaded.serve, path);
            let (exports, on) = (loaded.serve.exports.len(), loaded.serve.interfaces.join(", "));
            println!(
                "{}: no faults: {exports} export{} on {on}",
                printable(&path.display().to_string()),
                if exports == 1 { "" } else { "s" }
            );
            machine(is_fit)
        }
    }
}

fn tune_machine(options: &Tune) -> Result<(), u8> {
    let lines = tune(options).map_err(exit(MACHINE))?;
    let failed = lines.iter().any(|line| line.mark == Mark::Fail);
    print(lines);
    if failed { Err(1) } else { Ok(()) }
}

fn print(lines: Vec<impl Display>) {
    lines.iter().for_each(|line| println!("{line}"));
}

fn show(path: &Path, json: bool) -> Result<(), u8> {
    let serve = complete(path)?;
    let text = match json {
        true => config::to_json(&serve).map_err(exit(1))?,
        false => config::to_toml(&serve).map_err(exit(1))?,
    };
    println!("{}", text.trim_end());
    Ok(())
}
