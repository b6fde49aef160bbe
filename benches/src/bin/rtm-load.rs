//! The load driver. See `rtm-load --help`.

use rtm_benches::load::{self, options};

fn main() {
    let code = match options::parse(lexopt::Parser::from_env()) {
        Ok(options::Asked::Help) => {
            print!("{}", options::HELP);
            0
        }
        Ok(options::Asked::Run(options)) => load::run(options),
        Err(text) => {
            eprintln!("rtm-load: {text}");
            2
        }
    };
    std::process::exit(code);
}
