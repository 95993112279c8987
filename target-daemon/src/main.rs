//! The command line of xblade.

use std::path::Path;
use std::process::ExitCode;

use xblade::config::{self, Check, Cli, Command, Loaded, Serve, ServeArgs, Show};
use xblade::daemon;

/// The request cannot be fulfilled as it is.
const REQUEST: u8 = 2;

/// This machine has to change first.
const MACHINE: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_timestamp_millis()
        .format_target(false)
        .init();
    let outcome = match cli.command {
        Command::Serve(args) => configuration(*args).and_then(|options| serve(&options)),
        Command::Check(Check { config: Some(path), .. }) => check_file(&path),
        Command::Check(options) => {
            if daemon::check(&options) {
                Ok(())
            } else {
                Err(MACHINE)
            }
        }
        Command::Show(options) => show(&options),
    };
    outcome.map_or_else(ExitCode::from, |()| ExitCode::SUCCESS)
}

fn configuration(args: ServeArgs) -> Result<Serve, u8> {
    match args.config {
        Some(path) => complete(&path),
        None => Ok(args.serve.settled()),
    }
}

fn load(path: &Path) -> Result<Loaded, u8> {
    config::load(path).map_err(|error| {
        eprintln!("{error}");
        REQUEST
    })
}

/// The configuration in a file, if nothing is wrong with it.
fn complete(path: &Path) -> Result<Serve, u8> {
    load(path)?.complete().map_err(|faults| {
        eprintln!("{faults}");
        REQUEST
    })
}

fn serve(options: &Serve) -> Result<(), u8> {
    daemon::serve(options).map_err(|failure| {
        log::error!("{failure}");
        failure.exit_code()
    })
}

fn check_file(path: &Path) -> Result<(), u8> {
    let loaded = load(path)?;
    let (misfits, everywhere) = daemon::misfits(&loaded);
    if !loaded.faults.is_empty() {
        eprintln!("{}", loaded.faults);
    }
    let fits = misfits.is_empty() && everywhere.is_empty();
    if !fits {
        eprintln!("On this machine:");
    }
    for text in everywhere {
        eprintln!("{text}");
    }
    if !misfits.is_empty() {
        eprintln!("{}", loaded.tell(misfits));
    }
    match (loaded.faults.is_empty(), fits) {
        (false, _) => Err(REQUEST),
        (true, false) => Err(MACHINE),
        (true, true) => {
            let (exports, on) = (loaded.serve.exports.len(), loaded.serve.interfaces.join(", "));
            println!(
                "{}: no faults: {exports} export{} on {on}",
                path.display(),
                if exports == 1 { "" } else { "s" }
            );
            Ok(())
        }
    }
}

fn show(options: &Show) -> Result<(), u8> {
    let serve = complete(&options.config)?;
    let text = if options.json {
        config::to_json(&serve).map_err(|e| e.to_string())
    } else {
        config::to_toml(&serve).map_err(|e| e.to_string())
    };
    match text {
        Ok(text) => println!("{}", text.trim_end()),
        Err(error) => {
            eprintln!("{error}");
            return Err(1);
        }
    }
    Ok(())
}
