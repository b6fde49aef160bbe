//! Where and when a program ran, and what it was made of.

use super::{Markup, grouped};

/// The machine, the moment, and the command.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Processors that this program may use.
    pub cores: usize,
    /// GiB of memory.
    pub memory: f64,
    /// Name and release.
    pub kernel: String,
    /// What compiled this program.
    pub compiler: &'static str,
    /// Of this moment, UTC.
    pub date: String,
    /// The program's name and its arguments.
    pub command: String,
}

impl Machine {
    /// This machine, now.
    pub fn here() -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |path: &str, name: &str| {
            let text = read(path);
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':'])).to_owned()
        };
        let kib = field("/proc/meminfo", "MemTotal");
        let kib: f64 = kib.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0.0);
        let guest =
            match field("/proc/cpuinfo", "flags").split(' ').any(|flag| flag == "hypervisor") {
                true => " (virtual machine)",
                false => "",
            };
        let mut arguments = std::env::args();
        let program = arguments.next().unwrap_or_default();
        let program = program.rsplit('/').next().unwrap_or_default().to_owned();
        let date = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        Machine {
            processor: field("/proc/cpuinfo", "model name") + guest,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: kib / 1024.0 / 1024.0,
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            compiler: env!("RTM_COMPILER"),
            date: date.replace('T', " ").replace('Z', " UTC"),
            command: arguments.fold(program, |all, argument| all + " " + &argument),
        }
    }

    /// The day alone.
    pub fn day(&self) -> &str {
        self.date.split(' ').next().unwrap_or_default()
    }

    /// A list of all of it and of what else is to be said.
    pub fn list(&self, out: &mut Markup, more: &[(&str, String)]) {
        out.element("dl", &[], |out| {
            let mut line = |name: &str, text: &str| {
                out.leaf("dt", &[], name);
                out.leaf("dd", &[], text);
            };
            line("Machine", &format!("{}, {} cores", self.processor, grouped(self.cores as u64)));
            line("Memory", &format!("{:.1} GiB", self.memory));
            line("Kernel", &self.kernel);
            line("Compiler", self.compiler);
            line("Date", &self.date);
            line("rtm", env!("CARGO_PKG_VERSION"));
            more.iter().for_each(|(name, text)| line(name, text));
            out.leaf("dt", &[], "Command");
            out.element("dd", &[], |out| out.leaf("code", &[], &self.command));
        });
    }
}

/// The versions of packages that this program was built with.
pub fn versions<'a>(packages: &[&'a str]) -> Vec<(&'a str, String)> {
    let all = include_str!("../../../Cargo.lock").split("[[package]]");
    let value = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.map(|text| text.trim_matches('"').to_owned())
    };
    let all: Vec<_> = all.filter_map(|one| value(one, "name").zip(value(one, "version"))).collect();
    let of = |package: &'a str| {
        let found =
            all.iter().filter(|(name, _)| name == package).map(|(_, version)| version.as_str());
        (package, found.collect::<Vec<_>>().join(", "))
    };
    packages.iter().copied().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_known() {
        let here = Machine::here();
        assert!(here.kernel.starts_with("Linux ") && here.kernel.len() > 8, "{}", here.kernel);
        assert!(here.compiler.starts_with("rustc 1."), "{}", here.compiler);
        assert!(here.memory > 0.1 && here.cores >= 1);
        assert!(here.day().starts_with("20") && here.day().len() == 10, "{}", here.day());
    }

    #[test]
    fn versions_are_those_of_the_lock_file() {
        let found = versions(&["rtm-core", "no such package"]);
        assert_eq!(found[0].1, env!("CARGO_PKG_VERSION"));
        assert_eq!(found[1].1, "");
    }
}
