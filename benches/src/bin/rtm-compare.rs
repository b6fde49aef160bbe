//! The comparison with the peers. See `rtm-compare --help`.

use rtm_benches::compare;

fn main() {
    let code = match compare::parse(lexopt::Parser::from_env()) {
        Ok(None) => {
            print!("{}", compare::HELP);
            0
        }
        Ok(Some(options)) => compare::run(&options),
        Err(error) => {
            eprintln!("rtm-compare: {error}");
            2
        }
    };
    std::process::exit(code);
}
